"""Seconds to a trained mlp: the preset `fast` beside the tutorial's own loop."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.bench_system import BenchSystem
from benchmarks.report import Ratio, Row

CONTESTANTS = ("tutorial", "mlp fast")


def compare_trainings(system: BenchSystem, rounds: int) -> tuple[list[Row], list[Ratio]]:
    """Let both train MNIST in fresh processes, in turn."""
    tutorial = ("benchmarks.tutorial", str(system.root))
    options = ("--dataset", "mnist", "--preset", "fast", "--name", "fast", "--json")
    commands = dict(zip(CONTESTANTS, (tutorial, ("trainer.cli", "train", *options)), strict=True))
    measured: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for name, command in commands.items():
            figures = run(system, command)
            print(f"  round {number + 1}: {name}: {figures}", flush=True)
            for figure, value in figures.items():
                measured.setdefault((figure, name), []).append(value)
    rows = {
        (figure, name): Row(name=f"{name}, {figure}", unit=unit, values=measured[figure, name])
        for figure, unit in (("fit", "s"), ("whole process", "s"), ("accuracy", ""))
        for name in CONTESTANTS
    }
    ratios = [
        Ratio(
            name=f"mlp fast ÷ tutorial, {figure}",
            value=rows[figure, "mlp fast"].median / rows[figure, "tutorial"].median,
            target=target,
        )
        for figure, target in (("fit", "≤ 0.25"), ("whole process", ""))
    ]
    return list(rows.values()), ratios


def run(system: BenchSystem, command: Sequence[str]) -> dict[str, float]:
    """Seconds of the fit and of the whole process, and the accuracy over the test images."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env={**os.environ, **system.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr[-2000:]}")
    told = json.loads(done.stdout)
    return {"fit": told["seconds"], "whole process": seconds, "accuracy": told["accuracy"]}
