"""Images per second, side by side: batchsight, the bare machine, and what else there is."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bench_system import CORES, BenchSystem
from benchmarks.report import Row

BATCH = 10_000
FEW = 20_000
"""Images for contestants that would take minutes over a million."""

PEERS = Path(__file__).parent / "peers"
Contestant = Callable[[], float]


def contestants(system: BenchSystem, network: str, images: int) -> dict[str, Contestant]:
    """Each gives images per second over the same images with the same model file."""
    folder, array = system.model_folder(network), system.array(images)

    def script(module: str, *arguments: object) -> float:
        return run([sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)])

    def batchsight(*, outside: bool = False) -> float:
        source = system.array(images, outside=outside)
        seconds, summary = system.producer("submit", str(source), "--model", network)
        assert summary["status"] == "completed"
        return images / seconds

    few = min(images, FEW)
    return {
        "one process per core, no queue": lambda: script("reference", folder, array, CORES, BATCH),
        "one process, no queue": lambda: script("reference", folder, array, 1, BATCH),
        "batchsight, end to end": batchsight,
        "batchsight, array outside storage": lambda: batchsight(outside=True),
        "model.predict": lambda: script("keras_predict", folder, array, min(images, 100_000)),
        "Celery as first written": lambda: first_try(system, folder, array, few),
    }


def peers(system: BenchSystem, network: str, images: int, python: Path) -> dict[str, Contestant]:
    """Other queues and engines, run by the interpreter of their own environment."""
    model, array = system.model_folder(network) / "model.keras", system.array(images)

    def script(name: str) -> float:
        arguments = (PEERS / name, model, array, images, BATCH)
        return run([str(python), *map(str, arguments)])

    return {
        "Ray Data": lambda: script("ray_data.py"),
        "Dramatiq": lambda: dramatiq(system, model, array, images, python),
        "Dask": lambda: script("dask_distributed.py"),
    }


def first_try(system: BenchSystem, folder: Path, array: Path, limit: int) -> float:
    """Celery with its own worker, a child per core."""
    environment = {
        "BENCH_REDIS_URL": system.redis_url.replace("/0", "/1"),
        "BENCH_MODEL": str(folder / "model.keras"),
    }
    worker = [sys.executable, "-m", "celery", "-A", "benchmarks.first_try", "worker"]
    with running([*worker, "-c", str(CORES)], environment):
        command = [sys.executable, "-m", "benchmarks.first_try", str(array), str(limit), "1000"]
        return run(command, environment)


def dramatiq(system: BenchSystem, model: Path, array: Path, images: int, python: Path) -> float:
    """Dramatiq with a process per core."""
    out = system.root / "dramatiq"
    out.mkdir(exist_ok=True)
    environment = {
        "BENCH_REDIS_URL": system.redis_url.replace("/0", "/2"),
        "BENCH_MODEL": str(model),
        "BENCH_OUT": str(out),
        "PYTHONPATH": str(PEERS.parent),
    }
    module = "peers.dramatiq_worker"
    worker = [str(python), "-m", "dramatiq", module, "--processes", str(CORES), "--threads", "1"]
    with running(worker, environment):
        command = [str(python), "-m", module, str(array), str(images), str(BATCH)]
        speed = run(command, environment)
    for path in out.iterdir():
        path.unlink()
    return speed


def run(command: list[str], environment: dict[str, str] | None = None) -> float:
    """The last line that a contestant prints: images per second."""
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    """A contestant's worker while its turn lasts."""
    with subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.terminate()


def compare(field: dict[str, Contestant], rounds: int) -> list[Row]:
    """Let all take their turn, round after round."""
    speeds: dict[str, list[float]] = {name: [] for name in field}
    for number in range(rounds):
        for name, contestant in field.items():
            speeds[name].append(contestant())
            print(f"  round {number + 1}: {name}: {speeds[name][-1]:,.0f} images/s", flush=True)
    return [Row(name=name, unit="images/s", values=values) for name, values in speeds.items()]
