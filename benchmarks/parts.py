"""What is measured, part by part; each gives a section of Markdown."""

import json
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import redis

from benchmarks.bench_system import BenchSystem
from benchmarks.photographs.folders import photograph_folder
from benchmarks.photographs.networks import publish
from benchmarks.png_files import FILES, decode_on_all_cores, decode_together, png_folder
from benchmarks.report import Ratio, Row, draw_growth, markdown
from benchmarks.reuse import measure_reuse
from benchmarks.throughput import PEERS, Contestant, compare, contestants, peers
from benchmarks.training import compare_trainings
from benchmarks.transfer import compare_starts
from benchmarks.workers import measure_workers
from dispatch.batch_message import message_of
from messaging.app import make_app
from messaging.notifications import Notifications
from messaging.settings import BrokerSettings
from producer.client import PredictionClient
from producer.settings import ProducerSettings
from storage.jobs.store import JobStore
from storage.settings import StorageSettings

SINGLES = 300
PHOTOGRAPHS = (50, 200, 2_000, 20_000)
"""How many a job of the growth curve has."""
CLOCKS = """
The processes without a queue compute with TensorFlow, batchsight as the gate chose.
The clock of batchsight runs from the start of the producer's process to its end, with
`predictions.parquet` on disk; that of the others runs in processes that are warm already. Ray Data
is given arrays in its object store (blocks of 100,000, without copies), Dramatiq and Dask the names
of slices of the array; each has two processes of one thread. Batches of 50,000 make Ray and Dask
slower.
"""
SINGLE = """
`nop` is a message that has nothing to do, and its notification. `one image` ends when its record
is read, `merged` when its predictions are a file that survives a power cut.
"""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all parts are given."""

    system: BenchSystem
    images: int
    rounds: int
    peers: Path | None
    photographs: bool = False
    """Whether growth is to show them as well."""


def mlp(setting: Setting) -> str:
    """The cheap network: here the queue shows."""
    return _throughput(setting, "mlp", setting.images, "≥ 0.75")


def many(setting: Setting) -> str:
    """The same with ten times the images: what is done once shows less."""
    return _throughput(setting, "mlp", 10 * setting.images, "≥ 0.95")


def cnn(setting: Setting) -> str:
    """A dearer network: here it must not."""
    return _throughput(setting, "cnn", setting.images, "≥ 1.3")


def resnet(setting: Setting) -> str:
    """The dearest of our own."""
    return _throughput(setting, "resnet", setting.images // 10, "≥ 1.3")


def _throughput(setting: Setting, network: str, images: int, target: str) -> str:
    """`target` is for what batchsight achieves of a plain loop on all cores, in TensorFlow."""
    field = contestants(setting.system, network, images)
    if network != "mlp":
        del field["batchsight, array outside storage"]  # mlp has shown what copying costs
    if setting.peers:
        field |= peers(setting.system, network, images, setting.peers)
    rows = compare(field, setting.rounds)
    speed = {row.name: row.median for row in rows}
    ours = speed["batchsight, end to end"]
    wanted = {
        "one process per core, no queue": target,
        "Ray Data": "≥ 10" if network == "mlp" else "",
        "Celery as first written": "≥ 200" if network == "mlp" else "",
    }
    ratios = [
        Ratio(name=f"batchsight ÷ {name}", value=ours / value, target=wanted.get(name, ""))
        for name, value in speed.items()
        if not name.startswith("batchsight")
    ]
    return markdown(f"{network}, {images:,} images", rows, ratios) + CLOCKS


def small(setting: Setting) -> str:
    """From the start of the producer's process to the merged predictions."""
    seconds = [
        setting.system.producer("submit", "mnist:test", "--model", "mlp")[0]
        for _ in range(2 * setting.rounds + 1)
    ][1:]
    rows = [Row(name="submit mnist:test, process start included", unit="s", values=seconds)]
    target = Ratio(name="seconds", value=rows[0].median, target="≤ 1.0")
    return markdown("10,000 test images, warm workers", rows, [target])


def latency(setting: Setting) -> str:
    """One image from a running client, beside a message that has nothing to do."""
    system = setting.system
    broker = BrokerSettings(redis_url=system.redis_url)
    client = PredictionClient(
        storage=StorageSettings(storage=system.root), broker=broker, settings=ProducerSettings()
    )
    path = system.array(1)
    done = client.submit(str(path), model="mlp")
    done.wait()
    job = JobStore(system.root).get(done.id)
    app = make_app("bench", settings=broker)
    connection = redis.Redis.from_url(system.redis_url, decode_responses=True)

    def nop() -> None:
        latest: Any = connection.xrevrange(f"batchsight:notifications:{done.id}", count=1)
        heard = Notifications(connection, done.id).listen(since=latest[0][0], wait_seconds=5)
        message_of(job, 0).send(app)
        next(heard)

    def one() -> None:
        record = next(iter(client.submit(str(path), model="mlp")))
        assert record.prediction is not None

    def merged() -> None:
        client.submit(str(path), model="mlp").wait()

    actions = {"nop": nop, "one image": one, "one image, merged": merged}
    values: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(setting.rounds):
        for name, action in actions.items():
            times = [1000 * seconds_of(action) for _ in range(SINGLES)]
            for percent in (50, 99):
                value = float(np.percentile(times[SINGLES // 10 :], percent))
                values[name, percent].append(value)
    rows = {
        (name, percent): Row(name=f"{name}, p{percent}", unit="ms", values=values[name, percent])
        for name, percent in values
    }
    ratios = [
        Ratio(
            name=f"{name} - nop, p{percent}, ms",
            value=rows[name, percent].median - rows["nop", percent].median,
            target=target,
        )
        for name in ("one image", "one image, merged")
        for percent, target in ((50, "≤ 5"), (99, "≤ 20"))
    ]
    return markdown("One image, submit to result", list(rows.values()), ratios) + SINGLE


def memory(setting: Setting) -> str:
    """Peaks while a job grows a hundredfold."""
    system = setting.system
    client = redis.Redis.from_url(system.redis_url)
    few, many = 10_000, setting.images
    values: dict[str, list[float]] = defaultdict(list)
    for _ in range(setting.rounds):
        for count in (few, many):
            client.config_resetstat()
            idle = int(client.info("memory")["used_memory"])
            submit = ("submit", str(system.array(count)), "--model", "mlp", "--batch-size", "1000")
            peak, producer = _redis_peak(client, partial(system.producer_memory, *submit))
            values[f"producer, {count:,} images"].append(producer / 1e6)
            values[f"Redis above idle, {count:,} images"].append((peak - idle) / 1e6)
        for count in (few, many):
            folder = png_folder(system, count)
            producer = system.producer_memory("submit", str(folder), "--model", "mlp")
            values[f"producer, {count:,} PNG files"].append(producer / 1e6)
    rows = [Row(name=name, unit="MB", values=megabytes) for name, megabytes in values.items()]
    ratios = [
        Ratio(
            name="producer, large ÷ small", value=rows[2].median / rows[0].median, target="± 0.1"
        ),
        Ratio(
            name="producer, many files ÷ few",
            value=rows[5].median / rows[4].median,
            target="± 0.1",
        ),
        Ratio(name="Redis above idle, MB", value=rows[3].median, target="≤ 5"),
    ]
    return markdown("Memory, batches of 1,000", rows, ratios)


def seconds_of(action: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _redis_peak(client: "redis.Redis", action: Callable[[], int]) -> tuple[int, int]:
    """Run the action while sampling Redis' memory, in bytes."""
    peak, stop = 0, threading.Event()

    def sample() -> None:
        nonlocal peak
        while not stop.wait(0.02):
            peak = max(peak, int(client.info("memory")["used_memory"]))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        outcome = action()
    finally:
        stop.set()
        thread.join()
    return peak, outcome


def growth(setting: Setting) -> str:
    """Images per second over the size of the job and of the batch."""
    system, most = setting.system, 10 * setting.images
    count = min(1_000_000, most)
    sizes = [size for size in (10_000, 100_000, 1_000_000, 10_000_000) if size <= most]
    largest = sizes[-1]
    of_jobs = {size: partial(_speed, system, size) for size in sizes}
    of_batches = {
        size: partial(_speed, system, count, "--batch-size", str(size))
        for size in (100, 300, 1_000, 3_000, 10_000, 20_000, 50_000, 100_000)
    }
    of_photographs = photograph_jobs(system, most) if setting.photographs else {}
    bare = {
        name: contestant
        for name, contestant in contestants(system, "mlp", largest).items()
        if name.endswith("no queue")
    }
    rows = compare(
        {
            **{f"{size:,} images": contestant for size, contestant in of_jobs.items()},
            **{f"batches of {size:,}": contestant for size, contestant in of_batches.items()},
            **{f"{size:,} photographs": job for size, job in of_photographs.items()},
            **bare,
        },
        setting.rounds,
    )
    jobs = dict(zip(of_jobs, rows, strict=False))
    batches = dict(zip(of_batches, rows[len(of_jobs) :], strict=False))
    photographs = dict(zip(of_photographs, rows[len(of_jobs) + len(of_batches) :], strict=False))
    draw_growth(jobs, batches, count, photographs)
    ratios = [
        Ratio(
            name=f"batchsight, {largest:,} images ÷ {row.name}",
            value=jobs[largest].median / row.median,
            target="",
        )
        for row in rows[-len(bare) :]
    ]
    title = f"Growth: the whole job, and {count:,} images by batch size"
    return markdown(title, rows, ratios) + "\n![](growth.png)\n"


def photograph_jobs(system: BenchSystem, most: int) -> dict[int, Contestant]:
    """Jobs of at most so many photographs by their size; the workers have loaded the network."""
    network = "mobilenetv2"
    publish(network, system.root)

    def speed(count: int) -> float:
        folder = photograph_folder(system.root, count)
        seconds, _ = system.producer("submit", str(folder), "--model", network)
        return count / seconds

    sizes = [size for size in PHOTOGRAPHS if size <= most]
    speed(sizes[0])
    return {size: partial(speed, size) for size in sizes}


def _speed(system: BenchSystem, count: int, *options: str) -> float:
    seconds, _ = system.producer("submit", str(system.array(count)), "--model", "mlp", *options)
    return count / seconds


def files(setting: Setting) -> str:
    """PNG files on storage and outside it, beside decoding them on all cores and nothing else."""
    system = setting.system
    stored, outside = png_folder(system), png_folder(system, stored=False)
    field: dict[str, Contestant] = {
        "Pillow alone, one process per core": lambda: decode_on_all_cores(stored),
        "batchsight, files on storage": partial(_files_per_second, system, stored),
        "batchsight, files outside it": partial(_files_per_second, system, outside),
    }
    measured = compare(field, setting.rounds)
    alone, *ours = measured
    ratios = [
        Ratio(name=f"{row.name} ÷ Pillow alone", value=row.median / alone.median, target="≥ 0.85")
        for row in ours
    ]
    decoders = {"a worker's": decode_together(stored)}
    if setting.peers:
        script = str(PEERS / "decoders.py")
        command = [str(setting.peers), script, str(stored)]
        decoders |= json.loads(subprocess.run(command, stdout=-1, check=True).stdout)
    measured += [
        Row(name=f"decoder on one core: {name}", unit="files/s", values=[speed])
        for name, speed in decoders.items()
    ]
    return markdown(f"{FILES:,} PNG files", measured, ratios)


def _files_per_second(system: BenchSystem, folder: Path) -> float:
    seconds, _ = system.producer("submit", str(folder), "--model", "mlp")
    return FILES / seconds


def reuse(setting: Setting) -> str:
    """What a repeated submission saves."""
    return "\n".join(
        measure_reuse(setting.system, name, setting.rounds) for name in ("resnet", "cnn", "mlp")
    )


def workers(setting: Setting) -> str:
    """Memory over ten thousand batches, start, change of model."""
    return measure_workers(setting.system, setting.rounds)


def training(setting: Setting) -> str:
    """A trained mlp, beside the tutorial's own loop on this machine."""
    rows, ratios = compare_trainings(setting.system, setting.rounds)
    return markdown("Training on 60,000 images", rows, ratios)


def transfer(setting: Setting) -> str:
    """A version as a start, beside none."""
    rows, ratios = compare_starts(setting.system, setting.rounds)
    return markdown("Fifty pictures of a class, accuracy", rows, ratios)
