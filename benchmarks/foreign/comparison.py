"""Imports each model, classifies through Redis and a worker, and compares with its author."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, TypeAdapter

from benchmarks.bench_system import BenchSystem, bench_system
from benchmarks.foreign.photographs import photograph_folder
from benchmarks.foreign.recipes import RECIPES
from benchmarks.report import machine
from evaluation.ranking import SAME_SCORE
from storage.jobs.store import JobStore
from storage.models.runtime_choice import TITLES, Runtime
from storage.models.store import ModelStore

Probabilities = NDArray[np.float32]
OUTCOMES = "outcomes.json"


class Outcome(BaseModel, frozen=True):
    """What a model gave with one runtime, beside what its author gets."""

    model: str
    runtime: Runtime
    images: int
    classes: int
    """So many are predicted at least once."""
    others: int
    """Images of which the author has another class."""
    ties: int
    """Those of them whose two classes are as likely as one another, but for rounding."""
    difference: float
    """The largest one between two probabilities."""
    seconds: float
    """It took to get here."""

    @property
    def holds(self) -> bool:
        """Whether both say the same, but for rounding."""
        return self.others == self.ties and self.difference <= SAME_SCORE


def compare(place: Path, models: Sequence[str], images: int) -> Iterator[str]:
    """The section of all models so far, after each; raises `SystemExit` if one differs.

    What is in `place` already, of as many photographs, is not done again.
    """
    photographs = photograph_folder(place, images)
    kept = TypeAdapter(list[Outcome])
    outcomes: list[Outcome] = []
    with bench_system(place / "storage", []) as system:
        for name in models:
            folder = place / f"files-{images}" / name
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / OUTCOMES).exists():
                found = list(outcomes_of(system, name, photographs, folder))
                (folder / OUTCOMES).write_bytes(kept.dump_json(found))
            outcomes += kept.validate_json((folder / OUTCOMES).read_bytes())
            yield section(outcomes)
    if wrong := [outcome for outcome in outcomes if not outcome.holds]:
        named = ", ".join(f"{one.model} with {TITLES[one.runtime]}" for one in wrong)
        sys.exit(f"Other answers than the author's: {named}.")


def outcomes_of(
    system: BenchSystem, name: str, photographs: Path, folder: Path
) -> Iterator[Outcome]:
    """One of each runtime that the model can be used with."""
    recipe = RECIPES[name]
    path = folder / recipe.file
    began = time.perf_counter()
    if not path.exists():
        run("-m", "benchmarks.foreign.networks", name, path, photographs)
    answers = folder / "author.npz"
    run("-m", "benchmarks.foreign.author", name, path, photographs, answers)
    with np.load(answers) as author:
        names, expected = author["names"].tolist(), author["probabilities"]
    labels = folder / "labels.txt"
    labels.write_text("".join(f"{label}\n" for label in recipe.labels))
    options = ("--name", name, "--labels", labels, *recipe.options)
    run("-m", "trainer.cli", "import", path, *options, environment=system.environment)
    version = ModelStore(system.root).versions(name)[-1]
    for runtime in version.manifest.digests:
        told = {**system.environment, "BATCHSIGHT_RUNTIME": runtime}
        submit = (str(photographs), "--model", str(version), "--probabilities")
        _, summary = replace(system, environment=told).producer("submit", *submit)
        stored = JobStore(system.root).open(str(summary["id"]))
        if stored.job.model != version.on(runtime).pin:
            raise ValueError(f"{stored.job.model} was used and not {version} with {runtime}")
        predictions, given = read(stored.folder / "predictions.parquet", names)
        seconds = time.perf_counter() - began
        yield outcome(name, runtime, predictions, given, expected, seconds)
        began += seconds


def read(path: Path, names: Sequence[str]) -> tuple[list[str], Probabilities]:
    """What is predicted of each photograph, and the probabilities of its classes in order."""
    rows = pq.read_table(path).to_pylist()
    of_name = {Path(row["path"]).name: row for row in rows}
    if len(rows) != len(names) or of_name.keys() != set(names):
        raise ValueError(f"{path} has other photographs than the author")
    if errors := [row["error"] for row in rows if row["error"]]:
        raise ValueError(f"{path} has {len(errors)} errors: {errors[0]}")
    ordered = [of_name[name] for name in names]
    given = np.array([row["probabilities"] for row in ordered], np.float32)
    return [row["prediction"] for row in ordered], given


def outcome(
    name: str,
    runtime: Runtime,
    predictions: Sequence[str],
    given: Probabilities,
    expected: Probabilities,
    seconds: float,
) -> Outcome:
    """Compare what is recorded with what the author gets."""
    predicted = np.array([RECIPES[name].labels.index(label) for label in predictions])
    likeliest = expected.argmax(axis=1)
    rows = np.arange(len(expected))
    other = predicted != likeliest
    near = expected[rows, likeliest] - expected[rows, predicted] <= SAME_SCORE
    return Outcome(
        model=name,
        runtime=runtime,
        images=len(expected),
        classes=len(set(predictions)),
        others=int(other.sum()),
        ties=int((other & near).sum()),
        difference=float(np.abs(given - expected).max()),
        seconds=seconds,
    )


def section(outcomes: Sequence[Outcome]) -> str:
    """A table of them, in Markdown."""
    lines = [
        "## Foreign models, beside what their authors get",
        "",
        "| model | runtime | photographs | classes predicted | other class | of these ties "
        "| largest difference of a probability |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for one in sorted(outcomes, key=lambda one: list(RECIPES).index(one.model)):
        lines.append(
            f"| {one.model} | {TITLES[one.runtime]} | {one.images:,} | {one.classes:,} "
            f"| {one.others:,} | {one.ties:,} | {one.difference:.1g} |"
        )
    differing = sum(not one.holds for one in outcomes)
    models = len({one.model for one in outcomes})
    minutes = sum(one.seconds for one in outcomes) / 60
    verdict = f"{differing} of {len(outcomes)} differ" if differing else "all say the same"
    text = f"""
Random weights, calibrated on some of the photographs: JPEG in all eight orientations, PNG, WebP and
TIFF. Each file is imported by `trainer import` and submitted with `--probabilities`; its author has
Pillow, NumPy and Keras, TensorFlow or ONNX Runtime in a process without batchsight. That of half
precision has one thread, as a worker's process: with more TensorFlow adds up in another order, and
gives probabilities up to 0.0004 elsewhere. No probability may differ by more than {SAME_SCORE:g},
and no class unless both are as likely: {verdict}.
These are {models} of the {len(RECIPES)} models, and they took {minutes:.0f} minutes
({machine().partition(",")[0]}).
"""
    return "\n".join(lines) + "\n" + text


def run(*arguments: object, environment: Mapping[str, str] = MappingProxyType({})) -> None:
    """Run a module in a process of its own; raises `RuntimeError` with what it said."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{arguments}: {done.stderr[-2000:]}{done.stdout[-2000:]}")
