"""Workers over time: memory over many batches beside TensorFlow alone, start, change of model."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.bench_system import BenchSystem
from benchmarks.report import Ratio, Row, markdown
from storage.models import ModelStore

BATCHES, BATCH = 10_000, 100

ALONE = """
import resource, sys, time
from pathlib import Path
import numpy as np
from storage.models import ModelStore
from worker.model_cache import load_predictor
from worker.predictor import limit_threads
limit_threads(1)
began = time.perf_counter()
predictor = load_predictor(ModelStore(Path(sys.argv[1])).resolve("mlp"))
loaded = time.perf_counter() - began
images = np.load(sys.argv[2], mmap_mode="r")
for first in range(0, 100_000, 100):
    predictor(images[first : first + 100])
import psutil
print(loaded, psutil.Process().memory_info().rss)
"""
"""TensorFlow with the model alone, in a process of its own: seconds to load it, and its memory."""


def measure_workers(system: BenchSystem) -> str:
    """One section of `results.md`."""
    array = system.array(BATCHES * BATCH)
    children = pool(system)

    def memory() -> float:
        return float(max(child.memory_info().rss for child in children)) / 1e6

    submit = ("submit", str(array), "--model", "mlp", "--batch-size", str(BATCH))
    system.producer(*submit, "--limit", str(1_000 * BATCH))
    early = memory()
    system.producer(*submit)
    late = memory()
    loaded, alone = run_alone(system, array)
    swaps = [change_model(system) for _ in range(3)]
    rows = [
        Row(name="worker, from its start until it takes batches", unit="s", values=[system.ready]),
        Row(name="loading the model alone", unit="s", values=[loaded]),
        Row(name="a new champion: longest stall of a batch", unit="s", values=swaps),
        Row(name="child after 1,000 batches", unit="MB", values=[early]),
        Row(name=f"child after {BATCHES:,} batches more", unit="MB", values=[late]),
        Row(name="TensorFlow with the model alone", unit="MB", values=[alone]),
    ]
    ratios = [
        Ratio(name="child, late ÷ early", value=late / early, target="level"),
        Ratio(name="child ÷ TensorFlow alone", value=late / alone, target="≤ 1.1"),
        Ratio(name="stall ÷ loading alone", value=rows[2].median / loaded, target="≤ 1"),
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


def run_alone(system: BenchSystem, array: Path) -> tuple[float, float]:
    """Seconds to load the model, and megabytes after a thousand batches, without a queue."""
    command = [sys.executable, "-c", ALONE, str(system.root), str(array)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded, resident = map(float, done.stdout.split())
    return loaded, resident / 1e6


def change_model(system: BenchSystem) -> float:
    """Publish the model anew and submit a job: the longest that a batch waited for it, in s."""
    store = ModelStore(system.root)
    version = store.resolve("mlp")
    with store.draft("mlp") as draft:
        shutil.copy(version.model_path, draft)
        store.promote(store.publish("mlp", draft, version.manifest))
    _, summary = system.producer("submit", "mnist:test", "--model", "mlp")
    logs = (system.root / "jobs" / str(summary["id"]) / "attempts").iterdir()
    return max(phase_of(path.read_text().splitlines(), "model") for path in logs)


def phase_of(lines: Sequence[str], name: str) -> float:
    """Seconds of one phase in the log of a batch."""
    return max((json.loads(line).get("phases", {}).get(name, 0.0) for line in lines), default=0.0)
