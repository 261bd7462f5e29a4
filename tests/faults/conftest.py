"""A system of its own for every fault, and what an undisturbed run of its job gives."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from storage.jobs.job import Job
from storage.jobs.store import JobStore
from tests.conftest import MadeOnce
from tests.digits import digits
from tests.processes import Program, RedisServer, run, start, wait_for, worker

IMAGES = 6_000
BATCH_SIZE = 200
BATCHES = IMAGES // BATCH_SIZE


def write_array(storage: Path) -> Path:
    """The job's images: real digits, repeated and shifted so that every batch is different."""
    images, _ = digits()
    path = storage / "arrays" / "images.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    index = (np.arange(IMAGES) * 7) % len(images)
    np.save(path, images[index])
    return path


@pytest.fixture(scope="session")
def undisturbed(made_once: MadeOnce, request: pytest.FixtureRequest) -> bytes:
    """The predictions file of a job to which nothing happens."""

    def predict(path: Path) -> None:
        system = request.getfixturevalue("system")
        request.getfixturevalue("running_worker")
        storage = Path(system["BATCHSIGHT_STORAGE"])
        images = str(write_array(storage))
        options = ["--model", "digits", "--batch-size", str(BATCH_SIZE)]
        run(system, "producer", "submit", images, *options, "--job-id", "undisturbed")
        shutil.copy(storage / "jobs" / "undisturbed" / "predictions.parquet", path)

    return made_once("undisturbed.parquet", predict).read_bytes()


@dataclass
class House:
    """One system that a test may harm."""

    folder: Path
    redis: RedisServer
    environment: dict[str, str]
    programs: list[Program] = field(default_factory=list)

    @property
    def storage(self) -> Path:
        return Path(self.environment["BATCHSIGHT_STORAGE"])

    @property
    def jobs(self) -> JobStore:
        return JobStore(self.storage)

    def worker(
        self, name: str = "worker", *, concurrency: int = 1, ready: bool = True, **faults: object
    ) -> Program:
        """Start a faulty worker; its faults are told as `seconds_per_call=...` and the like."""
        environment = {f"FAULTY_{key.upper()}": str(value) for key, value in faults.items()}
        program = worker(
            self.folder,
            {**self.environment, **environment},
            app="tests.faults.faulty_worker",
            name=name,
            concurrency=concurrency,
        )
        self.programs.append(program)
        if ready:
            program.wait_for_log("Ready with", concurrency)
        return program

    def submit(self, *options: str, source: str | None = None) -> Job:
        """Submit the job without waiting for it."""
        images = source or str(self.storage / "arrays" / "images.npy")
        arguments = ["--model", "digits", "--batch-size", str(BATCH_SIZE), "--job-id", "job"]
        done = run(
            self.environment, "producer", "submit", images, *arguments, "--no-wait", *options
        )
        assert done.returncode == 0
        return self.jobs.get("job")

    def follow(self, seconds: float = 150.0, *, code: int = 0) -> dict[str, object]:
        """Wait for the job as a user does; returns its summary."""
        command = ("producer", "status", "job", "--follow", "--json")
        done = run(self.environment, *command, check=False, seconds=seconds)
        assert done.returncode == code, f"{done.returncode}: {done.stderr}"
        summary: dict[str, object] = json.loads(done.stdout)
        return summary

    def done(self) -> int:
        return len(self.jobs.open("job").results.done())

    def wait_until_done(self, batches: int, seconds: float = 60.0) -> None:
        wait_for(lambda: self.done() >= batches, f"{batches} batches are done", seconds)

    def predictions(self, job: str = "job") -> bytes:
        return (self.jobs.path(job) / "predictions.parquet").read_bytes()

    def records(self, job: str = "job") -> dict[str, tuple[object, ...]]:
        """Everything that was found out about each image, by its id."""
        table = pq.read_table(self.jobs.path(job) / "predictions.parquet")
        columns = (table[name].to_pylist() for name in ("prediction", "score", "model", "batch"))
        ids = table["id"].to_pylist()
        assert len(set(ids)) == len(ids)
        return dict(zip(ids, zip(*columns, strict=True), strict=True))

    def run_undisturbed(self, source: Path, *options: str) -> None:
        """Run the job `reference`, to which nothing happens."""
        arguments = ["--model", "digits", "--batch-size", str(BATCH_SIZE), "--job-id", "reference"]
        run(self.environment, "producer", "submit", str(source), *arguments, *options)

    def popen(self, *command: str) -> "subprocess.Popen[str]":
        """Start `producer ...` and go on."""
        return start(self.environment, *command)


@pytest.fixture
def house(tmp_path: Path, digits_storage: Path) -> Iterator[House]:
    """A system with the model `digits`, its own Redis with AOF, and no worker yet."""
    storage = tmp_path / "storage"
    shutil.copytree(digits_storage, storage)
    write_array(storage)
    server = RedisServer(tmp_path / "redis", "--appendonly", "yes", "--maxmemory", "100mb")
    environment = {
        "BATCHSIGHT_STORAGE": str(storage),
        "BATCHSIGHT_REDIS_URL": server.url,
        "BATCHSIGHT_LEASE_SECONDS": "4",
    }
    one = House(folder=tmp_path, redis=server, environment=environment)
    yield one
    for program in one.programs:
        program.kill()
    server.kill()


CRASH_BEFORE_SENDING = """
import os, sys
import messaging.messages
messaging.messages.PredictBatch.send = lambda *a, **k: os._exit(9)
from producer.cli import main
main()
"""


def submit_and_crash_before_sending(house: House) -> None:
    """Leave a job on storage of which no message was ever sent."""
    images = str(house.storage / "arrays" / "images.npy")
    options = ["--model", "digits", "--batch-size", "200", "--job-id", "job"]
    command = [sys.executable, "-c", CRASH_BEFORE_SENDING, "submit", images, *options]
    done = subprocess.run(command, env={**os.environ, **house.environment}, check=False)
    assert done.returncode == 9
    assert house.done() == 0
