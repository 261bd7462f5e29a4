"""The course of a storm, and its verdict: what was done against what should have been."""

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from messaging.messages import MESSAGES
from storage.jobs.attempts import read_events
from storage.jobs.job import Job
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.digits import digits, write_digits
from tests.faults.storm.strikes import WORKERS, Disk, Entry, Storm, schedule
from tests.processes import Program, RedisServer, run, wait_for, worker

BATCH_SIZE = 100
CHILDREN = 2
SECONDS_PER_CALL = 0.7
VISIBILITY_SECONDS = 10
"""After so long what a killed worker had in hand is handed out again."""
HANGS_SECONDS = 120.0
"""A storm in which so long no batch is done has stopped something for good."""
DISK_MEGABYTES = 100
RECEIVED = r"worker\.predict\[storm\.\d+\.\w+\] received"
DROPPED = "A malformed message was dropped"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the job came to, against the ledger."""

    images: int
    lost: int
    double: int
    wrong: int
    attempts: int
    batches: int
    deaths: int
    unexplained: tuple[str, ...]
    """Attempts whose end no fault explains, and those that followed one that ended well."""
    deliveries: int
    """Messages of the job that workers received."""
    left: dict[str, int]
    """What the broker still holds: messages that wait, and messages in hand."""
    malformed: int
    dropped: int
    """Malformed messages that somebody has said to have dropped; fewer if somebody died over it."""
    strange: tuple[str, ...]
    """What else should not have been."""
    faults: int
    wanted_faults: int

    @property
    def wasted(self) -> int:
        """Attempts beyond one per batch."""
        return self.attempts - self.batches

    @property
    def good(self) -> bool:
        bad = self.lost or self.double or self.wrong or self.unexplained or self.left
        return not bad and not self.strange and self.faults == self.wanted_faults


def rage(
    folder: Path,
    seed: int,
    faults: int,
    images: int,
    say: Callable[[str], object],
) -> Verdict:
    """Run one storm; returns its verdict."""
    with system(folder, images, say) as storm:
        expected = prepare(storm, images)
        start(storm)
        job = submit(storm)
        follower = follow(storm)
        try:
            seconds = strike_until_done(storm, job, seed, faults)
            wait_for(lambda: not follower.running, "the follower ends", HANGS_SECONDS)
            strange = tuple(find_strange(storm, job, follower))
            left = wait_until_empty(storm)
            verdict = judge(job, expected, storm, strange, left, faults)
        finally:
            follower.kill()
    report(say, seed, storm, verdict, seconds)
    return verdict


@contextmanager
def system(folder: Path, images: int, say: Callable[[str], object]) -> Iterator[Storm]:
    """Redis, storage and programs, none of which is left when the block ends."""
    disk = Disk(folder, DISK_MEGABYTES + images // 5_000)
    server = RedisServer(folder / "redis", "--appendonly", "yes")
    environment = {
        "BATCHSIGHT_STORAGE": str(disk.storage),
        "BATCHSIGHT_REDIS_URL": server.url,
        "BATCHSIGHT_LEASE_SECONDS": "5",
        "BATCHSIGHT_SHUTDOWN_SECONDS": "5",
        "FAULTY_SECONDS_PER_CALL": str(SECONDS_PER_CALL),
        "FAULTY_VISIBILITY_SECONDS": str(VISIBILITY_SECONDS),
    }
    storm = Storm(folder=folder, environment=environment, server=server, disk=disk, say=say)
    try:
        yield storm
    finally:
        storm.close()


def prepare(storm: Storm, images: int) -> np.ndarray:
    """Publish a model, write the job's array, and let Keras itself say what must come out."""
    environment, storage = storm.environment, storm.disk.storage
    source = write_digits(storm.folder / "digits")
    run(environment, "trainer", "data", "add", "digits", f"folder:{source}")
    run(environment, "trainer", "train", "--dataset", "digits", "--network", "mlp", "--seed", "1")
    real, _ = digits()
    array = real[(np.arange(images) * 7) % len(real)]
    (storage / "arrays").mkdir()
    np.save(storage / "arrays" / "images.npy", array)
    import keras

    version = ModelStore(storage).resolve("digits")
    model = keras.saving.load_model(version.on("tensorflow").model_path)
    of_each = model.predict(real[..., None], verbose=0).argmax(axis=-1)
    return np.asarray(of_each[(np.arange(images) * 7) % len(real)])


def start(storm: Storm) -> None:
    """Start the workers, each with the storage root of its own, and a trainer."""
    for name, root in storm.disk.roots().items():
        storm.workers[name] = worker(
            storm.folder,
            {**storm.environment, "BATCHSIGHT_STORAGE": str(root)},
            app="tests.faults.faulty_worker",
            name=name,
            concurrency=CHILDREN,
        )
    storm.workers["trainer"] = worker(
        storm.folder, storm.environment, app="trainer", name="trainer", concurrency=1
    )
    for name in WORKERS:
        storm.workers[name].wait_for_log("Ready with", CHILDREN)


def submit(storm: Storm) -> Job:
    """Submit the job and let nobody wait for it yet."""
    images = str(storm.disk.storage / "arrays" / "images.npy")
    options = ["--model", "digits", "--batch-size", str(BATCH_SIZE), "--job-id", "storm"]
    run(storm.environment, "producer", "submit", images, *options, "--no-wait")
    return JobStore(storm.disk.storage).get("storm")


def follow(storm: Storm) -> Program:
    """A producer that waits for the job, and sends again what is lost."""
    command = [sys.executable, "-m", "producer.cli", "status", "storm", "--follow"]
    return Program(command, storm.folder / "follow.log", storm.environment)


def strike_until_done(storm: Storm, job: Job, seed: int, faults: int) -> float:
    """Do the faults of the schedule while the job goes on; returns the seconds that it took.

    Each waits for a batch to be done after the last one: a fault to workers that are only just
    starting would prove nothing.
    """
    jobs = JobStore(storm.disk.storage)
    storm.begin()
    began = moved = time.monotonic()
    done = struck_at = len(jobs.of(job).results.done())
    strikes = schedule(seed, faults)
    while done < job.batches and time.monotonic() - moved < HANGS_SECONDS:
        storm.restart_ended()
        if strikes and done > struck_at:
            storm.strike(strikes.pop(0))
            struck_at = len(jobs.of(job).results.done())
        time.sleep(0.1)
        before, done = done, len(jobs.of(job).results.done())
        if done > before:
            moved = time.monotonic()
    return time.monotonic() - began


def wait_until_empty(storm: Storm) -> dict[str, int]:
    """Give the workers time to take what is left; returns what they do not."""
    deadline = time.monotonic() + 3 * VISIBILITY_SECONDS
    while (left := held(storm)) and time.monotonic() < deadline:
        storm.restart_ended()
        time.sleep(0.2)
    return left


def held(storm: Storm) -> dict[str, int]:
    """What the broker holds: messages in queues and in hand, by key."""
    client: Any = storm.server.client()
    count = {"list": client.llen, "hash": client.hlen, "zset": client.zcard}
    ours = (*MESSAGES, "unacked.worker", "unacked.trainer")
    keys = [key for key in client.scan_iter() if key.startswith(ours)]
    return {key: count[kind](key) for key in keys if (kind := client.type(key)) in count}


def find_strange(storm: Storm, job: Job, follower: Program) -> Iterator[str]:
    """What should not have been, whatever faults there were."""
    if stop := JobStore(storm.disk.storage).of(job).stopped():
        yield f"The job was stopped: {stop.reason}"
    if follower.exit_code != 0:
        last = follower.log.splitlines()[-1:]
        yield f"The follower ended with {follower.exit_code}: {last}"
    for name, program in storm.workers.items():
        if "Unrecoverable" in program.log:
            yield f"Worker {name} ended by an error."
    for program, illness in storm.sick:
        if program is storm.sick[-1][0]:
            program.wait_for_log("No batches are taken. ")
        # While storage is away it cannot know what it lacks: it takes a batch and gives it back.
        if illness == "broken runtimes" and "'images': " in program.log:
            yield "A worker with broken runtimes classified images."
    for job_folder in storm.folder.glob("sick-*/jobs/[!.]*"):
        yield f"A worker without storage wrote {job_folder}."


def judge(
    job: Job,
    expected: np.ndarray,
    storm: Storm,
    strange: tuple[str, ...],
    left: dict[str, int],
    wanted_faults: int,
) -> Verdict:
    """Compare every record with the ledger, and account for every attempt in the logs."""
    jobs = JobStore(storm.disk.storage)
    logs = [read_events(jobs.of(job).attempts.path(batch)) for batch in range(job.batches)]
    kinds = Counter(event["event"] for log in logs for event in log)
    texts = [program.log for program in storm.programs]
    ids, predictions = read_predictions(jobs.path(job.id) / "predictions.parquet")
    counts = Counter(ids)
    return Verdict(
        images=job.total,
        lost=len({str(i) for i in range(job.total)} - counts.keys()),
        double=sum(count - 1 for count in counts.values()),
        wrong=int((predictions != expected).sum()) if len(predictions) == job.total else job.total,
        attempts=kinds["start"],
        batches=job.batches,
        deaths=kinds["start"] - kinds["end"],
        unexplained=tuple(
            f"batch {batch}: {why}"
            for batch, log in enumerate(logs)
            for why in unexplained_attempts(log, storm.ledger)
        ),
        deliveries=sum(len(re.findall(RECEIVED, text)) for text in texts),
        left=left,
        malformed=storm.malformed,
        dropped=sum(text.count(DROPPED) for text in texts),
        strange=strange,
        faults=len(storm.ledger) + len(storm.left_out),
        wanted_faults=wanted_faults,
    )


def read_predictions(path: Path) -> tuple[list[str], np.ndarray]:
    """Ids and predictions of all records; none where the job has not come to an end."""
    if not path.exists():
        return [], np.array([])
    records = pq.read_table(path)
    return records["id"].to_pylist(), np.array([int(p) for p in records["prediction"].to_pylist()])


def unexplained_attempts(log: list[dict[str, Any]], ledger: Sequence[Entry]) -> Iterator[str]:
    """What no fault accounts for in the log of one batch.

    Every attempt but the last must have ended otherwise than well, by a fault that there was at
    its time. An attempt after one that was done, or beside one that lived and ended well, is work
    done twice for nothing.
    """
    ends = {event["key"]: event for event in log if event["event"] == "end"}
    starts = [event for event in log if event["event"] == "start"]
    for number, start in enumerate(starts):
        end = ends.get(start["key"])
        outcome = end["outcome"].partition(":")[0] if end else "died"
        last = number == len(starts) - 1
        ended = start["at"] + end["seconds"] if end else time.time()
        if not end and not last:
            ended = starts[number + 1]["at"]
        if outcome == "done":
            if not last:
                yield f"attempt {number} was done, and another one followed"
        elif not any(entry.explains(outcome, start["at"], ended) for entry in ledger):
            yield f"attempt {number} ended by no fault: {end['outcome'] if end else 'died'}"


def report(
    say: Callable[[str], object], seed: int, storm: Storm, verdict: Verdict, seconds: float
) -> None:
    """Print what it came to."""
    say(f"Storm with seed {seed}: {verdict.faults} faults in {seconds:.0f} s")
    for name, count in Counter(entry.strike.kind for entry in storm.ledger).most_common():
        say(f"  {count:>5}  {name}")
    for name, count in Counter(strike.kind for strike in storm.left_out).most_common():
        say(f"  {count:>5}  LEFT OUT, since this user may not mount: {name}")
    say(f"  {verdict.images:>7,} images in {verdict.batches} batches")
    redelivered = verdict.deliveries - verdict.batches
    say(f"  {verdict.deliveries:>7,} messages received, {redelivered} beyond one per batch")
    say(f"  {verdict.malformed:>7,} malformed messages sent, {verdict.dropped} said to be dropped")
    say(f"  {verdict.attempts:>7,} attempts, {verdict.deaths} ended by death")
    say(f"  {verdict.wasted:>7,} wasted: beyond one per batch")
    say(f"  {verdict.lost:>7,} lost, {verdict.double} double, {verdict.wrong} wrong")
    say(f"  {len(verdict.unexplained):>7,} attempts that no fault explains")
    for fault in (*verdict.unexplained, *verdict.strange):
        say(f"           {fault}")
    say(f"  {sum(verdict.left.values()):>7,} messages left with the broker {verdict.left or ''}")
    say(json.dumps({"seed": seed, "good": verdict.good}))
