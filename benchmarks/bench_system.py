"""A batchsight to measure: Redis, one worker with a child per core, models and arrays."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from local.programs import Programs, worker_program
from local.redis_server import choose_port
from local.up import start_redis
from storage.datasets.store import DatasetStore
from storage.models.store import ModelStore

CORES = len(os.sched_getaffinity(0))


TRAINING = {"resnet": ("--epochs", "1")}
"""How each network is trained, where not by its preset `fast`: its speed does not depend on it."""

PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@dataclass(frozen=True, kw_only=True)
class BenchSystem:
    """What runs, and how to reach it."""

    root: Path
    environment: Mapping[str, str]
    log: Path
    ready: float
    """Seconds from the worker's start until all its processes took batches."""

    @property
    def redis_url(self) -> str:
        """The broker."""
        return self.environment["BATCHSIGHT_REDIS_URL"]

    def model_folder(self, network: str) -> Path:
        """The version trained with this network."""
        versions = ModelStore(self.root).versions(network)
        return versions[-1].folder

    def array(self, count: int, *, outside: bool = False) -> Path:
        """The test images of MNIST, repeated to `count`, as one array on storage or outside it."""
        place = self.root.parent / f"{self.root.name}-outside" if outside else self.root
        path = place / "arrays" / f"{count}.npy"
        if not path.exists():
            path.parent.mkdir(exist_ok=True, parents=True)
            images = DatasetStore(self.root).get("mnist").images("test")
            array = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *images.shape[1:]))
            for first in range(0, count, len(images)):
                last = min(first + len(images), count)
                array[first:last] = images[: last - first]
        return path

    def producer(self, *arguments: str) -> tuple[float, dict[str, object]]:
        """Run the producer in a fresh process: wall seconds, and its JSON."""
        began = time.perf_counter()
        output = self._run([sys.executable, "-m", "producer.cli", *arguments, "--json"])
        return time.perf_counter() - began, json.loads(output)

    def producer_memory(self, *arguments: str) -> int:
        """Run the producer and tell its peak resident memory in bytes.

        From a small process between: a child's peak begins with that of the process that forks.
        """
        command = [sys.executable, "-m", "producer.cli", *arguments, "--json"]
        return int(self._run([sys.executable, "-c", PEAK, *command])) * 1024

    def _run(self, command: Sequence[str]) -> str:
        return subprocess.run(
            command,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        ).stdout


@contextmanager
def bench_system(root: Path, networks: Sequence[str]) -> Iterator[BenchSystem]:
    """Start the system; the networks are trained on MNIST unless they are there."""
    root.mkdir(parents=True, exist_ok=True)
    port = choose_port()
    environment = {
        "BATCHSIGHT_STORAGE": str(root),
        "BATCHSIGHT_REDIS_URL": f"redis://127.0.0.1:{port}/0",
    }
    log = root / "worker.log"
    log.write_text("")

    def write(name: str, line: str) -> None:
        with log.open("a") as file:
            file.write(f"{name}: {line}\n")

    for network in networks:
        if not ModelStore(root).numbers(network):
            train = ["train", "--dataset", "mnist", "--network", network, "--name", network]
            train += TRAINING.get(network, ("--preset", "fast"))
            command = [sys.executable, "-m", "trainer.cli", *train]
            subprocess.run(command, env={**os.environ, **environment}, check=True)
    with Programs(environment, write) as programs:
        start_redis(programs, port, root)
        began = time.perf_counter()
        programs.start(worker_program())
        while log.read_text().count("Ready with") < CORES:
            time.sleep(0.02)
        ready = time.perf_counter() - began
        yield BenchSystem(root=root, environment=environment, log=log, ready=ready)
