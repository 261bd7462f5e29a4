"""Who classifies a folder of photographs, each in its best documented way."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from benchmarks.bench_system import CORES, bench_system
from benchmarks.photographs.measurement import Figures
from benchmarks.photographs.networks import NETWORKS, litert_file
from benchmarks.photographs.programs import Peak, run
from benchmarks.throughput import PEERS
from benchmarks.workers import pool
from producer.results.timeline import trace
from storage.jobs.store import JobStore
from storage.models.store import FILE_OF, ModelStore

Runtime = Literal["onnx", "tensorflow"]
TITLES: dict[Runtime, str] = {"onnx": "ONNX Runtime", "tensorflow": "TensorFlow"}
PIPELINES = {"tf.data": "tf.data", "keras": "image_dataset_from_directory"}
NOT_WORK = ("submit", "queue", "unattended", "merge")
"""Phases in which a job's workers have nothing to do."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """A network on a storage of its own, the photographs, and what else there is to run."""

    network: str
    root: Path
    folder: Path
    """On that storage."""
    peers: Path | None

    @property
    def version(self) -> Path:
        """The folder of the champion."""
        return ModelStore(self.root).resolve(self.network).folder

    @property
    def runtimes(self) -> list[Runtime]:
        """Those that the version can be used with."""
        files: dict[Runtime, str] = {"tensorflow": FILE_OF["keras"], "onnx": FILE_OF["onnx"]}
        return [runtime for runtime, file in files.items() if (self.version / file).exists()]

    @property
    def chosen(self) -> Runtime:
        """The one that a job gets unless told otherwise."""
        choice = json.loads((self.version / "manifest.json").read_text()).get("runtime")
        return "onnx" if choice and choice["runtime"] == "onnx" else "tensorflow"


def plain(field: Field) -> Iterator[tuple[str, Callable[[], Figures]]]:
    """Programs of one process."""
    module, model = "benchmarks.photographs.plain_program", field.version / FILE_OF["keras"]
    for pipeline, title in PIPELINES.items():
        yield title, partial(run, sys.executable, "-m", module, pipeline, model, field.folder)


def loops(field: Field) -> Iterator[tuple[str, Callable[[], Figures]]]:
    """A process per core, without a queue."""
    module = "benchmarks.photographs.bare_loop"
    for runtime in field.runtimes:
        arguments = (runtime, field.version, field.folder, CORES)
        yield loop(runtime), partial(run, sys.executable, "-m", module, *arguments)


def ours(field: Field) -> Iterator[tuple[str, Callable[[], Figures]]]:
    """Batchsight with each runtime."""
    for runtime in field.runtimes:
        yield batchsight(runtime), partial(job, field, runtime)


def peers(field: Field) -> Iterator[tuple[str, Callable[[], Figures] | str]]:
    """Other engines by the interpreter of their own environment, or why one cannot be had."""
    onnx, keras = field.version / FILE_OF["onnx"], field.version / FILE_OF["keras"]
    models: dict[Runtime, Path] = {"tensorflow": keras, "onnx": onnx}
    for runtime, model in models.items():
        arguments = ("ray_photographs.py", runtime, model)
        yield ray(runtime), _peer(field, "ray", *arguments)
    loop = "photograph_loop.py"
    yield "OpenVINO, a loop per core", _peer(field, "openvino", loop, "openvino", onnx)
    litert = partial(litert_file, field.network, field.root)
    yield "LiteRT, a loop per core", _peer(field, "ai_edge_litert", loop, "litert", litert)


def _peer(
    field: Field, package: str, script: str, engine: str, model: Path | Callable[[], Path]
) -> Callable[[], Figures] | str:
    if field.peers is None:
        return "no environment of peers was given"
    if isinstance(model, Path) and not model.exists():
        return f"the version has no {model.name}"
    find = f"from importlib.util import find_spec; exit(find_spec({package!r}) is None)"
    if subprocess.run([str(field.peers), "-c", find], check=False).returncode:
        return f"{package} is not installed"
    side = NETWORKS[field.network].side

    def turn() -> Figures:
        path = model if isinstance(model, Path) else model()
        return run(field.peers, PEERS / script, engine, path, field.folder, side)

    return turn


def loop(runtime: Runtime) -> str:
    return f"a loop per core, {TITLES[runtime]}"


def batchsight(runtime: Runtime) -> str:
    return f"batchsight, {TITLES[runtime]}"


def ray(runtime: Runtime) -> str:
    return f"Ray Data, {TITLES[runtime]}"


def job(field: Field, runtime: Runtime) -> Figures:
    """One job from the start of the producer to its end; the worker was started for it."""
    with bench_system(field.root, []) as started:
        environment = {**started.environment, "BATCHSIGHT_RUNTIME": runtime}
        system = replace(started, environment=environment)
        submit = ("submit", "--model", field.network)
        few = sorted(map(str, field.folder.iterdir()))[: 2 * CORES]
        system.producer(*submit, *few, "--batch-size", "1")  # whatever is loaded only when needed
        children, peak, began = pool(system), Peak(), time.time()
        with peak.watching(lambda: children):
            seconds, summary = system.producer(*submit, str(field.folder))
        assert summary["status"] == "completed", summary
        stored = JobStore(field.root).open(str(summary["id"]))
        timeline = trace(stored)
        assert timeline
        phases = {phase.name: phase.seconds for phase in timeline.phases}
        results = (stored.folder / "results").iterdir()
        return Figures(
            seconds=seconds,
            ready=system.ready,
            first=min(path.stat().st_mtime for path in results) - began,
            working=sum(took for name, took in phases.items() if name not in NOT_WORK),
            megabytes=peak.megabytes,
            phases=phases,
        )
