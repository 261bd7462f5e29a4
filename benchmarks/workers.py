"""Workers over time: memory over many batches beside the model alone, start, change of model."""

import json
import multiprocessing
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import psutil

from benchmarks.bench_system import CORES, BenchSystem
from benchmarks.report import Ratio, Row, markdown
from storage.models.store import ModelStore

BATCHES, BATCH = 10_000, 100

ALONE = """
import sys
from pathlib import Path
import numpy as np, psutil
from storage.models.store import ModelStore
from worker.runtimes.model_cache import load_predictor
predictor = load_predictor(ModelStore(Path(sys.argv[1])).resolve("mlp"))
images = np.load(sys.argv[2], mmap_mode="r")
for first in range(0, 100_000, 100):
    predictor(images[first : first + 100])
print(psutil.Process().memory_info().rss)
"""
"""The model alone, in a process of its own: its memory after a thousand batches."""


def measure_workers(system: BenchSystem, rounds: int) -> str:
    """One section of `results.md`."""
    array = system.array(BATCHES * BATCH)
    children = pool(system)

    def memory() -> float:
        return float(max(child.memory_info().rss for child in children)) / 1e6

    submit = ("submit", str(array), "--model", "mlp", "--batch-size", str(BATCH))
    system.producer(*submit, "--limit", str(1_000 * BATCH))
    early = memory()
    late = []
    for _ in range(rounds):
        system.producer(*submit)
        late.append(memory())
    alone = [memory_alone(system, array) for _ in range(rounds)]
    loads = [load_at_once(system.root, CORES) for _ in range(rounds)]
    swaps = [change_model(system) for _ in range(rounds)]
    rows = [
        Row(name="worker, from its start until it takes batches", unit="s", values=[system.ready]),
        Row(name="loading the model in every process at once", unit="s", values=loads),
        Row(name="a new champion: longest stall of a batch", unit="s", values=swaps),
        Row(name="child after 1,000 batches", unit="MB", values=[early]),
        Row(name=f"child after each {BATCHES:,} batches more", unit="MB", values=late),
        Row(name="the model alone in a process", unit="MB", values=alone),
    ]
    ratios = [
        Ratio(name="child, late ÷ early", value=late[-1] / early, target="level"),
        Ratio(name="child ÷ the model alone", value=late[-1] / rows[5].median, target="≤ 1.1"),
        Ratio(name="stall ÷ loading", value=rows[2].median / rows[1].median, target="≤ 1"),
    ]
    return markdown(f"Workers, batches of {BATCH}", rows, ratios)


def pool(system: BenchSystem) -> list[psutil.Process]:
    """The processes that classify batches."""
    return [process for process in psutil.process_iter() if is_child(process, system)]


def is_child(process: psutil.Process, system: BenchSystem) -> bool:
    """Whether this is a process of the measured worker's pool."""
    try:
        parent = process.parent()
        return (
            "worker" in process.cmdline()
            and parent is not None
            and "worker" in parent.cmdline()
            and process.environ().get("BATCHSIGHT_REDIS_URL") == system.redis_url
        )
    except psutil.Error:
        return False


def memory_alone(system: BenchSystem, array: Path) -> float:
    """Megabytes of a process that has nothing to do with a queue."""
    command = [sys.executable, "-c", ALONE, str(system.root), str(array)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1e6


def load_at_once(root: Path, processes: int) -> float:
    """Seconds until the last of several processes that load the model at the same time has it."""
    context = multiprocessing.get_context("spawn")
    gate, loaded = context.Barrier(processes), context.SimpleQueue()
    loaders = [
        context.Process(target=load, args=(root, gate, loaded), daemon=True)
        for _ in range(processes)
    ]
    for loader in loaders:
        loader.start()
    seconds: float = max(loaded.get() for _ in loaders)
    for loader in loaders:
        loader.join()
    return seconds


def load(root: Path, gate: Barrier, loaded: "SimpleQueue[float]") -> None:
    """One of the processes; a model that it has loaded before warms it up."""
    from worker.runtimes.model_cache import load_predictor

    version = ModelStore(root).resolve("mlp")
    load_predictor(version)
    gate.wait()
    began = time.perf_counter()
    load_predictor(version)
    loaded.put(time.perf_counter() - began)


def change_model(system: BenchSystem) -> float:
    """Publish the model anew and submit a job: the longest that a batch waited for it, in s."""
    store = ModelStore(system.root)
    version = store.resolve("mlp")
    with store.draft("mlp") as draft:
        for artefact in version.folder.glob("model.*"):
            shutil.copy(artefact, draft)
        store.promote(store.publish("mlp", draft, version.manifest))
    _, summary = system.producer("submit", "mnist:test", "--model", "mlp")
    logs = (system.root / "jobs" / str(summary["id"]) / "attempts").iterdir()
    return max(phase_of(path.read_text().splitlines(), "model") for path in logs)


def phase_of(lines: Sequence[str], name: str) -> float:
    """Seconds of one phase in the log of a batch."""
    return max((json.loads(line).get("phases", {}).get(name, 0.0) for line in lines), default=0.0)
