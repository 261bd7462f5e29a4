"""What a version that knows other classes is worth, with fifty pictures of a class."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench_system import BenchSystem
from benchmarks.report import Ratio, Row

KNOWN, NEW = ("3", "5", "6"), ("4",)
"""Corners of the things that the parent knows, and of those that are learned."""
SHAPE = ("--size", "64", "--resize", "crop")
EXAMPLE = Path(__file__).parents[1] / "examples" / "draw_things.py"


def compare_starts(system: BenchSystem, rounds: int) -> tuple[list[Row], list[Ratio]]:
    """Train on other pictures in each round: from the parent, and from nothing."""
    add_things(system, "known", KNOWN, train=300, seed=0)
    train(system, "known", "--network", "resnet")
    accuracies: dict[str, list[float]] = {"from known@1": [], "from nothing": []}
    for number in range(1, rounds + 1):
        name = f"new-{number}"
        add_things(system, name, NEW, train=50, seed=number)
        seed = ("--seed", str(number))
        accuracies["from known@1"].append(
            train(system, name, "--from", "known@1", "--name", "learned", *seed)
        )
        accuracies["from nothing"].append(
            train(system, name, "--network", "resnet", "--name", "anew", *seed)
        )
        print(f"  round {number}: {accuracies}", flush=True)
    rows = {name: Row(name=name, unit="", values=found) for name, found in accuracies.items()}
    worst, best = min(accuracies["from known@1"]), max(accuracies["from nothing"])
    ratio = Ratio(name="worst from known@1 ÷ best from nothing", value=worst / best, target="> 1")
    return list(rows.values()), [ratio]


def add_things(
    system: BenchSystem, name: str, corners: Sequence[str], *, train: int, seed: int
) -> None:
    """A data set of drawn things, 100 of each class for test."""
    folder = system.root.parent / name
    options = ("--corners", *corners, "--train", str(train), "--test", "100", "--seed", str(seed))
    run(system, str(EXAMPLE), str(folder), *options)
    run(system, "-m", "trainer.cli", "data", "add", name, f"folder:{folder}", *SHAPE)


def train(system: BenchSystem, dataset: str, *options: str) -> float:
    """Accuracy over the test pictures."""
    done = run(system, "-m", "trainer.cli", "train", "--dataset", dataset, *options, "--json")
    accuracy: float = json.loads(done)["accuracy"]
    return accuracy


def run(system: BenchSystem, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, **system.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr[-2000:]}")
    return done.stdout
