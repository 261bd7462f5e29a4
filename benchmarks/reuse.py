"""What a job with `--reuse` costs beside one without: all images new, 1 % of them, none."""

import shutil
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import psutil

from benchmarks.bench_system import BenchSystem
from benchmarks.report import Ratio, Row, markdown
from benchmarks.workers import pool
from storage.datasets.store import DatasetStore
from storage.jobs.attempts import read_events

EVERY = 100
"""One image of so many is changed."""
MEASURES = ("workers' CPU time", "predict and reuse", "whole job")
TARGETS = {"1 % new": ("≈ 1", "≈ 1", "")}


@dataclass(frozen=True)
class Cost:
    """Seconds, in the order of `MEASURES`."""

    processor: float
    phases: float
    whole: float


def measure_reuse(system: BenchSystem, network: str, rounds: int) -> str:
    """One section of `results.md`: the images of MNIST, which are all different."""
    images, changed = different_images(system)
    jobs = {
        "without reuse": (images, ()),
        "all new": (images, ("--reuse",)),
        "1 % new": (changed, ("--reuse",)),
        "nothing new": (changed, ("--reuse",)),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in jobs}
    for number in range(rounds):
        shutil.rmtree(system.root / "jobs" / ".reuse", ignore_errors=True)
        for name, (source, options) in jobs.items():
            costs[name].append(run(system, source, network, *options))
            print(f"  round {number + 1}: {network}, {name}: {costs[name][-1]}", flush=True)
    rows = {
        (name, measure): Row(name=f"{name}: {measure}", unit="s", values=list(values))
        for name, found in costs.items()
        for measure, values in zip(MEASURES, zip(*map(astuple, found), strict=True), strict=True)
    }
    ratios = [
        Ratio(
            name=f"{name}: {measure}, % of that without reuse",
            value=100 * rows[name, measure].median / rows["without reuse", measure].median,
            target=target,
        )
        for name in list(jobs)[1:]
        for measure, target in zip(MEASURES, TARGETS.get(name, ("", "", "")), strict=True)
    ]
    count = len(np.load(images, mmap_mode="r"))
    return markdown(f"Reuse, {network}, {count:,} images", list(rows.values()), ratios)


def different_images(system: BenchSystem) -> tuple[Path, Path]:
    """All images of MNIST, and the same with a pixel of 1 % of them changed, on storage."""
    folder = system.root / "arrays"
    folder.mkdir(exist_ok=True)
    data = DatasetStore(system.root).get("mnist")
    images = np.concatenate([data.images("train"), data.images("test")])
    paths = folder / "different.npy", folder / "changed.npy"
    np.save(paths[0], images)
    images[::EVERY, 0, 0] ^= 1
    np.save(paths[1], images)
    return paths


def run(system: BenchSystem, source: Path, network: str, *options: str) -> Cost:
    """Submit a job and wait for it."""
    children = pool(system)
    before = processor_seconds(children)
    whole, summary = system.producer("submit", str(source), "--model", network, *options)
    assert summary["status"] == "completed"
    attempts = (system.root / "jobs" / str(summary["id"]) / "attempts").iterdir()
    phases = [event.get("phases", {}) for path in attempts for event in read_events(path)]
    return Cost(
        processor=processor_seconds(children) - before,
        phases=sum(phase.get("predict", 0.0) + phase.get("reuse", 0.0) for phase in phases),
        whole=whole,
    )


def processor_seconds(processes: list[psutil.Process]) -> float:
    """What these have used so far."""
    times = [process.cpu_times() for process in processes]
    return float(sum(time.user + time.system for time in times))
