"""One job folder that cannot be used costs no other job anything, whoever looks at all of them."""

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from messaging.messages import PredictBatch
from messaging.settings import BrokerSettings
from monitor.metrics import OpenJobs
from producer.client import PredictionClient
from producer.results.merging import merge
from producer.results.pruning import prune
from producer.settings import ProducerSettings
from storage.datasets.store import DatasetStore
from storage.identity import storage_id
from storage.jobs.job import Job, Status
from storage.jobs.reuse import Known, ReuseStore
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.settings import StorageSettings
from tests.builders import add_dataset, array_job, images_of, publish, ranking_of, result_of
from tests.fake_queue import FakeQueue, FakeWorker
from tests.odd_files import make_huge
from tests.other_user import NOBODY, needs_root, nobody, shared_folder, umask
from worker.sweep import Sweeper

LEASE = 15.0


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def loop(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)


def folder_instead(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def file_instead(path: Path) -> None:
    shutil.rmtree(path)
    path.write_bytes(b"a file")


def empty(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "job.json is a pipe": lambda job: pipe(job / "job.json"),
    "job.json is a folder": lambda job: folder_instead(job / "job.json"),
    "job.json is a loop": lambda job: loop(job / "job.json"),
    "job.json is torn": lambda job: (job / "job.json").write_bytes(b'{"id": "bad", '),
    "job.json is huge": lambda job: make_huge(job / "job.json"),
    "job.json is deep": lambda job: (job / "job.json").write_bytes(b"[" * 200_000),
    "job.json is missing": lambda job: (job / "job.json").unlink(),
    "no results": lambda job: shutil.rmtree(job / "results"),
    "results is a file": lambda job: file_instead(job / "results"),
    "results is a loop": lambda job: loop(job / "results"),
    "attempts is a file": lambda job: file_instead(job / "attempts"),
    "the job is a loop": loop,
    "the job is empty": empty,
}
"""What makes a job unusable."""

LITTER: dict[str, Callable[[Path], object]] = {
    "thumbnails": lambda job: (job / "results" / "Thumbs.db").touch(),
    "a folder": lambda job: (job / "results" / "@eaDir").mkdir(),
    "a loop": lambda job: loop(job / "results" / "000001.npz"),
    "a pipe": lambda job: pipe(job / "results" / "000001.npz"),
    "bytes": lambda job: (job / "results" / os.fsdecode(b"\xff.npz")).touch(),
    "no attempts": lambda job: shutil.rmtree(job / "attempts"),
    "an attempt": lambda job: (job / "attempts" / "Thumbs.db").touch(),
    "an attempt is a pipe": lambda job: pipe(job / "attempts" / "000000.jsonl"),
    "an attempt is a folder": lambda job: (job / "attempts" / "000000.jsonl").mkdir(),
    "an attempt is bytes": lambda job: (job / "attempts" / "000000.jsonl").write_bytes(
        b"\xff\n3\n"
    ),
    "in the job": lambda job: (job / ".DS_Store").touch(),
    "a pipe in the job": lambda job: pipe(job / "pipe"),
}
"""What lies beside what belongs to a job."""


class Neighbours:
    """Two jobs that nobody has begun, and whoever looks at all jobs."""

    def __init__(self, root: Path) -> None:
        self.jobs = JobStore(root)
        self.bad = array_job(self.jobs, images_of(range(10)), id="bad")
        self.good = array_job(self.jobs, images_of(range(10)), id="good")
        self.sweeper = Sweeper(self.jobs, LEASE)
        self.metrics = OpenJobs(self.jobs)

    def age(self) -> None:
        for job_id in ("good", "bad"):
            for path in (self.jobs.path(job_id), *self.jobs.path(job_id).rglob("*")):
                os.utime(path, (1e9, 1e9), follow_symlinks=False)

    def swept(self) -> dict[str, int]:
        sent: list[PredictBatch] = []
        return self.sweeper.sweep(sent.extend, set)

    def counted(self) -> dict[str, float]:
        return {s.labels["status"]: s.value for s in self.metrics.metrics().samples if s.value}

    def listed(self) -> tuple[dict[str, str], list[str]]:
        client = PredictionClient(
            storage=StorageSettings(storage=self.jobs.root),
            broker=BrokerSettings(),
            settings=ProducerSettings(),
            queue=FakeQueue(),
        )
        faults: list[str] = []
        lines = client.overview(on_fault=faults.append)
        return {line.id: line.status for line in lines}, faults

    def pruned(self) -> tuple[list[str], list[str]]:
        faults: list[str] = []
        later = datetime.now(UTC) + timedelta(days=2)
        entries = prune(self.jobs, timedelta(days=1), now=later, on_fault=faults.append)
        return [entry.name for entry in entries], faults


@pytest.fixture
def neighbours(tmp_path: Path) -> Neighbours:
    return Neighbours(tmp_path)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_job_that_cannot_be_used_costs_no_other_anything(
    neighbours: Neighbours, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    damage(neighbours.jobs.path("bad"))
    neighbours.age()
    assert neighbours.swept() == {"good": 2}
    statuses, faults = neighbours.listed()
    assert statuses.pop("good") == Status.QUEUED
    counted = neighbours.counted()
    assert counted.pop("queued", 0) >= 1
    seen = neighbours.jobs.ids() != ["good"]  # nobody takes a loop for a job
    if not statuses and seen:
        assert counted == {"unreadable": 1}
        assert len(faults) == 1
        assert "bad" in faults[0]
        assert "bad" in caplog.text
    neighbours.jobs.of(neighbours.good).stop(Status.CANCELLED, "enough")
    names, faults = neighbours.pruned()
    assert names == ["good"]
    assert all("bad" in fault for fault in faults)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("litter", LITTER.values(), ids=LITTER)
def test_litter_keeps_neither_its_job_nor_another_from_being_done(
    neighbours: Neighbours, litter: Callable[[Path], object]
) -> None:
    jobs, bad = neighbours.jobs, neighbours.bad
    litter(jobs.path("bad"))
    neighbours.age()
    assert neighbours.swept() == {"bad": 2, "good": 2}
    assert neighbours.listed()[0].keys() == {"bad", "good"}
    assert sum(neighbours.counted().values()) == 2
    assert "unreadable" not in neighbours.counted()
    worker = FakeWorker(jobs)
    for batch in range(bad.batches):
        attempt = jobs.of(bad).attempts.begin(batch)
        jobs.of(bad).results.write(batch, worker.result(bad, batch))
        attempt.end("done")
    assert neighbours.listed()[0] == {"bad": Status.COMPLETED, "good": Status.QUEUED}
    assert neighbours.pruned() == (["bad"], [])
    assert jobs.ids() == ["good"]


def test_what_is_wrong_with_a_job_is_logged_once_until_it_changes(
    neighbours: Neighbours, caplog: pytest.LogCaptureFixture
) -> None:
    job_file = neighbours.jobs.path("bad") / "job.json"
    content = job_file.read_bytes()
    for _ in range(2):
        job_file.write_bytes(b"{")
        for _ in range(3):
            neighbours.swept()
        job_file.write_bytes(content)
        neighbours.swept()
    assert caplog.text.count("Not swept: Job bad is damaged") == 2


def test_a_damaged_reason_to_stop_ends_its_job_and_says_so(neighbours: Neighbours) -> None:
    (neighbours.jobs.path("bad") / "stopped.json").write_bytes(b"\0\0")
    neighbours.age()
    assert neighbours.swept() == {"good": 2}
    assert neighbours.listed() == ({"bad": Status.FAILED, "good": Status.QUEUED}, [])
    assert neighbours.counted() == {"failed": 1, "queued": 1}


def test_storage_that_cannot_be_listed_is_told_by_the_figures(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_bytes(b"a file")
    with pytest.raises(OSError, match="Not a directory"):
        OpenJobs(JobStore(tmp_path)).metrics()


# Several users


@pytest.fixture
def shared() -> Iterator[Path]:
    with shared_folder() as folder:
        yield folder


@needs_root
def test_the_private_folder_of_another_user_costs_no_other_job_anything(shared: Path) -> None:
    neighbours = Neighbours(shared)
    neighbours.age()
    for path in (shared, *shared.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    private = neighbours.jobs.path("bad")
    os.chown(private, 0, 0)
    private.chmod(0o700)
    with nobody():
        assert neighbours.swept() == {"good": 2}
        statuses, faults = neighbours.listed()
        assert statuses == {"good": Status.QUEUED}
        assert faults == [f"Job bad cannot be used: {private / 'job.json'} (Permission denied)."]
        assert neighbours.counted() == {"queued": 1, "unreadable": 1}
        neighbours.jobs.of(neighbours.good).stop(Status.CANCELLED, "enough")
        assert neighbours.pruned()[0] == ["good"]
    assert neighbours.jobs.ids() == ["bad"]


@needs_root
def test_a_folder_that_another_user_may_only_read_is_told(shared: Path) -> None:
    with umask(0o022):
        neighbours = Neighbours(shared)
    for path in (neighbours.jobs.path("bad"), *neighbours.jobs.path("bad").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    neighbours.age()
    with nobody():
        assert neighbours.swept() == {"good": 2}
        assert neighbours.listed() == ({"bad": Status.QUEUED, "good": Status.QUEUED}, [])


@needs_root
@pytest.mark.parametrize("mask", [0o077, 0o027, 0o022])
def test_a_job_submitted_with_a_private_umask_can_be_done_by_another_user(
    shared: Path, mask: int
) -> None:
    with umask(mask):
        neighbours = Neighbours(shared)
        identity = storage_id(shared)
        version = publish(ModelStore(shared))
        ModelStore(shared).promote(version)
        add_dataset(shared, [0, 1, 2])
    jobs, job = neighbours.jobs, neighbours.good
    worker = FakeWorker(jobs)
    with umask(mask):
        jobs.of(job).attempts.begin(0).end("interrupted")
    (shared / "images.npy").chmod(0o644)  # put there by hand
    with nobody(), umask(mask):
        assert storage_id(shared) == identity
        assert ModelStore(shared).pinned(version.pin) == version
        assert ModelStore(shared).champion("digits") is not None
        assert len(DatasetStore(shared).get("digits").images("test")) == 3
        assert jobs.get("good") == job
        assert len(jobs.of(job).inputs.open_array()) == 10
        for batch in range(job.batches):
            attempt = jobs.of(job).attempts.begin(batch)
            attempt.beat()
            jobs.of(job).results.write(batch, worker.result(job, batch))
            attempt.end("done")
        jobs.of(job).chains.note_sent()
        jobs.of(neighbours.bad).stop(Status.CANCELLED, "enough")
    with umask(mask):
        jobs.of(job).chains.note_sent()
        assert not jobs.of(job).results.write(0, worker.result(job, 0))
        jobs.of(job).results.discard(0)
        jobs.of(job).results.write(0, result_of([0] * 4))
        assert not jobs.of(job).attempts.history(0, LEASE).live
        jobs.of(job).attempts.begin(0).end("done")
        jobs.of(neighbours.bad).unstop()
        merge(jobs.of(job))
        kept = ReuseStore(shared)
        keys = np.arange(10, dtype=np.uint64).reshape(2, 5)
        known = Known(keys=keys, ranking=ranking_of(np.zeros(5, np.int32), np.ones(5, np.float32)))
        path = kept.add(version.pin, known)
    with nobody():
        assert (jobs.path("good") / "predictions.parquet").read_bytes()
        assert (jobs.path("good") / "errors.jsonl").read_bytes() == b""
        assert path.read_bytes()
    assert status_of(jobs, job) is Status.COMPLETED
    assert status_of(jobs, neighbours.bad) is Status.QUEUED


@needs_root
def test_a_draft_of_another_user_that_cannot_be_removed_is_told(shared: Path) -> None:
    jobs = JobStore(shared)
    draft = jobs.folder / ".new-left"
    (draft / "inputs").mkdir(parents=True)
    jobs.folder.chmod(0o755)
    os.utime(draft, (1e9, 1e9))
    os.utime(draft / "inputs", (1e9, 1e9))
    faults: list[str] = []
    with nobody():
        assert prune(jobs, timedelta(0), on_fault=faults.append) == []
    assert faults == [f"The draft {draft} cannot be removed: it is somebody else's."]


def status_of(jobs: JobStore, job: Job) -> Status:
    return jobs.of(job).status(len(jobs.of(job).results.done()))
