"""A storm of random faults over one job: nothing lost, nothing double, nothing unexplained.

    python -m tests.faults.storm --seed 1            200 faults over 100,000 images
    python -m tests.faults.storm --faults 20         a short one

Real workers, a real Redis, and a ledger that the system cannot touch: the predictions of every
image computed beforehand by Keras itself, and a list of every fault done. Prints what it did and
what it cost; exit code 1 when a record is missing, doubled or wrong, or when an attempt was
made that no fault explains.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import redis

from storage.attempts import read_events
from storage.jobs import Job, JobStore
from storage.models import ModelStore
from tests.digits import digits, write_digits
from tests.processes import Program, RedisServer, run, worker

BATCH_SIZE = 100
WORKERS = ("one", "two")
CHILDREN = 2
SECONDS_PER_CALL = 0.7
PAUSE_SECONDS = (0.3, 3.0)
EXPLAINED = {"died", "interrupted"}
RECEIVED = r"worker\.predict\[storm\.\d+\.\w+\] received"


@dataclass
class Storm:
    """Does faults to a system until told to stop, and remembers each."""

    random: random.Random
    server: RedisServer
    workers: dict[str, Program]
    done: Counter[str] = field(default_factory=Counter)

    def strike(self) -> None:
        """Do one fault, chosen at random."""
        faults: dict[str, tuple[int, Callable[[], None]]] = {
            "kill -9 of a child": (8, self.kill_child),
            "kill -9 of a worker": (3, self.kill_worker),
            "SIGTERM of a worker": (2, self.stop_worker),
            "pause of a child": (3, self.pause_child),
            "reset of all connections": (5, self.reset_connections),
            "kill -9 of Redis": (1, self.kill_redis),
        }
        weights = [weight for weight, _ in faults.values()]
        name = self.random.choices(list(faults), weights)[0]
        with suppress(psutil.NoSuchProcess, ProcessLookupError, redis.RedisError):
            faults[name][1]()
            self.done[name] += 1
        self.restart_ended()

    def a_worker(self) -> Program:
        return self.workers[self.random.choice(WORKERS)]

    def a_child(self) -> int:
        children = self.a_worker().children()
        if not children:
            raise ProcessLookupError
        return self.random.choice(children)

    def kill_child(self) -> None:
        os.kill(self.a_child(), signal.SIGKILL)

    def kill_worker(self) -> None:
        victim = self.a_worker()
        victim.kill()
        victim.start()

    def stop_worker(self) -> None:
        os.kill(self.a_worker().pid, signal.SIGTERM)

    def pause_child(self) -> None:
        child = self.a_child()
        os.kill(child, signal.SIGSTOP)
        time.sleep(self.random.uniform(*PAUSE_SECONDS))
        os.kill(child, signal.SIGCONT)

    def reset_connections(self) -> None:
        self.server.client().execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def kill_redis(self) -> None:
        self.server.kill()
        time.sleep(self.random.uniform(0, 1))
        self.server.start()

    def restart_ended(self) -> None:
        """What the restart policy of containers does."""
        for program in self.workers.values():
            if not program.running:
                program.kill()
                program.start()


@dataclass(frozen=True)
class Verdict:
    """What the job came to, against the ledger."""

    images: int
    lost: int
    double: int
    wrong: int
    attempts: int
    batches: int
    deaths: int
    unexplained: int
    """Attempts that followed one which no fault had ended."""
    deliveries: int
    """Messages of the job that workers received."""
    faults: int
    wanted_faults: int

    @property
    def wasted(self) -> int:
        """Attempts beyond one per batch."""
        return self.attempts - self.batches

    @property
    def good(self) -> bool:
        bad = self.lost or self.double or self.wrong or self.unexplained
        return not bad and self.faults == self.wanted_faults


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--images", type=int, default=100_000)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="batchsight-storm-"))
    try:
        verdict = rage(folder, options.seed, options.faults, options.images)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if verdict.good else 1)


def rage(
    folder: Path,
    seed: int,
    faults: int,
    images: int,
    say: Callable[[str], None] = print,
) -> Verdict:
    """Run one storm; returns its verdict."""
    server = RedisServer(folder / "redis", "--appendonly", "yes")
    environment = {
        "BATCHSIGHT_STORAGE": str(folder / "storage"),
        "BATCHSIGHT_REDIS_URL": server.url,
        "BATCHSIGHT_LEASE_SECONDS": "5",
        "BATCHSIGHT_SHUTDOWN_SECONDS": "5",
        "FAULTY_SECONDS_PER_CALL": str(SECONDS_PER_CALL),
    }
    expected = prepare(folder, environment, images)
    app = "tests.faults.faulty_worker"
    workers = {
        name: worker(folder, environment, app=app, name=name, concurrency=CHILDREN)
        for name in WORKERS
    }
    storm = Storm(random=random.Random(seed), server=server, workers=workers)
    try:
        for program in workers.values():
            program.wait_for_log("Ready with", CHILDREN)
        job = submit(folder, environment)
        follower = follow(folder, environment)
        began = time.monotonic()
        jobs = JobStore(folder / "storage")
        struck_at = len(jobs.done(job))
        while (done := len(jobs.done(job))) < job.batches:
            storm.restart_ended()
            # A fault to workers that are only just starting would prove nothing.
            if done > struck_at and sum(storm.done.values()) < faults:
                time.sleep(storm.random.uniform(0, 1))
                storm.strike()
                struck_at = len(jobs.done(job))
            time.sleep(0.1)
            if not follower.running:
                follower.start()
        seconds = time.monotonic() - began
        run(environment, "producer", "status", job.id, "--follow")
        verdict = judge(jobs, job, expected, storm, faults)
    finally:
        for program in workers.values():
            program.kill()
        with suppress(NameError):
            follower.kill()
        server.kill()
    report(say, seed, storm, verdict, seconds)
    return verdict


def prepare(folder: Path, environment: dict[str, str], images: int) -> np.ndarray:
    """Publish a model, write the job's array, and let Keras itself say what must come out."""
    source = write_digits(folder / "digits")
    run(environment, "trainer", "data", "add", "digits", f"folder:{source}")
    run(environment, "trainer", "train", "--dataset", "digits", "--network", "mlp", "--seed", "1")
    real, _ = digits()
    array = real[(np.arange(images) * 7) % len(real)]
    (folder / "storage" / "arrays").mkdir()
    np.save(folder / "storage" / "arrays" / "images.npy", array)
    import keras

    version = ModelStore(folder / "storage").resolve("digits")
    model = keras.saving.load_model(version.model_path)
    of_each = model.predict(real[..., None], verbose=0).argmax(axis=-1)
    return np.asarray(of_each[(np.arange(images) * 7) % len(real)])


def submit(folder: Path, environment: dict[str, str]) -> Job:
    """Submit the job and let nobody wait for it yet."""
    images = str(folder / "storage" / "arrays" / "images.npy")
    options = ["--model", "digits", "--batch-size", str(BATCH_SIZE), "--job-id", "storm"]
    run(environment, "producer", "submit", images, *options, "--no-wait")
    return JobStore(folder / "storage").get("storm")


def follow(folder: Path, environment: dict[str, str]) -> Program:
    """A producer that waits for the job, and sends again what is lost."""
    command = [sys.executable, "-m", "producer.cli", "status", "storm", "--follow"]
    return Program(command, folder / "follow.log", environment)


def judge(
    jobs: JobStore, job: Job, expected: np.ndarray, storm: Storm, wanted_faults: int
) -> Verdict:
    """Compare every record with the ledger, and account for every attempt in the logs."""
    records = pq.read_table(jobs.path(job.id) / "predictions.parquet")
    ids = Counter(records["id"].to_pylist())
    wanted = {str(i) for i in range(job.total)}
    predictions = np.array([int(p) for p in records["prediction"].to_pylist()])
    logs = [read_events(jobs.attempt_path(job, batch)) for batch in range(job.batches)]
    kinds = Counter(event["event"] for log in logs for event in log)
    return Verdict(
        images=job.total,
        lost=len(wanted - ids.keys()),
        double=sum(count - 1 for count in ids.values()),
        wrong=int((predictions != expected).sum()) if len(predictions) == job.total else job.total,
        attempts=kinds["start"],
        batches=job.batches,
        deaths=kinds["start"] - kinds["end"],
        unexplained=sum(unexplained_attempts(log) for log in logs),
        deliveries=sum(len(re.findall(RECEIVED, w.log)) for w in storm.workers.values()),
        faults=sum(storm.done.values()),
        wanted_faults=wanted_faults,
    )


def unexplained_attempts(log: list[dict[str, Any]]) -> int:
    """How many attempts at one batch no fault accounts for.

    A batch is tried again because the attempt before died or was interrupted. An attempt after
    one that was done, or beside one that lived and ended well, is work done twice for nothing.
    """
    outcomes = {event["key"]: event["outcome"] for event in log if event["event"] == "end"}
    starts = [event["key"] for event in log if event["event"] == "start"]
    ends = [outcomes.get(key, "died") for key in starts[:-1]]
    return sum(end not in EXPLAINED for end in ends)


def report(
    say: Callable[[str], None], seed: int, storm: Storm, verdict: Verdict, seconds: float
) -> None:
    """Print the ledger."""
    say(f"Storm with seed {seed}: {verdict.faults} faults in {seconds:.0f} s")
    for name, count in storm.done.most_common():
        say(f"  {count:>5}  {name}")
    say(f"  {verdict.images:>7,} images in {verdict.batches} batches")
    redelivered = verdict.deliveries - verdict.batches
    say(f"  {verdict.deliveries:>7,} messages received, {redelivered} beyond one per batch")
    say(f"  {verdict.attempts:>7,} attempts, {verdict.deaths} ended by death")
    say(f"  {verdict.wasted:>7,} wasted: beyond one per batch")
    say(f"  {verdict.lost:>7,} lost, {verdict.double} double, {verdict.wrong} wrong")
    say(f"  {verdict.unexplained:>7,} attempts that no fault explains")
    say(json.dumps({"seed": seed, "good": verdict.good}))


if __name__ == "__main__":
    main()
