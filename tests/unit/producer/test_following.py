import errno
import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from dispatch.resending import send_lost
from producer.errors import DamagedResult
from producer.following import Follower, Intervals, Progress
from producer.results.records import PredictionsWriter
from storage.identity import ID_FILE, storage_id
from storage.jobs.attempts import Attempt
from storage.jobs.job import Job, Status
from storage.jobs.result_store import ResultStore
from storage.jobs.store import JobStore
from storage.models.runtime_choice import Runtime
from tests.builders import PIN, array_job, images_of
from tests.fake_queue import AWAY, FakeQueue, FakeWorker

QUICK = Intervals(poll_seconds=0.001, resend_seconds=0.0, stall_seconds=1e9)
LONELY = Intervals(poll_seconds=0.001, resend_seconds=1e9, stall_seconds=0.0)


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path)


@pytest.fixture
def job(store: JobStore) -> Job:
    """Eight batches in three chains: 0 3 6, 1 4 7, 2 5."""
    return array_job(store, images_of(range(30)), [0] * 30, batch_size=4, window=3)


def follow(
    store: JobStore,
    job: Job,
    queue: FakeQueue,
    *,
    intervals: Intervals = QUICK,
    lease_seconds: float = 0.0,
    queued: bool = True,
) -> Iterator[Progress]:
    return iter(
        Follower(
            store.of(job), queue, lease_seconds=lease_seconds, queued=queued, intervals=intervals
        )
    )


def notices(progresses: Iterator[Progress]) -> list[str]:
    return [progress.notice for progress in progresses if progress.notice]


# Sending again


def test_only_batches_whose_messages_are_not_waiting_are_sent_again(
    store: JobStore, job: Job
) -> None:
    queue = FakeQueue(waits={"job.1", "other.2"})
    assert send_lost(
        store.of(job), [0, 1, 2], waiting=queue.waiting(), lease_seconds=60.0, send=queue.send
    ) == [0, 2]
    assert queue.batches == [0, 2]
    assert {message.job for message in queue.sent} == {"job"}
    assert (store.path("job") / "sent").exists()


def test_when_all_messages_wait_nothing_is_sent_and_nothing_noted(
    store: JobStore, job: Job
) -> None:
    queue = FakeQueue(waits={"job.0"})
    assert (
        send_lost(store.of(job), [0], waiting=queue.waiting(), lease_seconds=60.0, send=queue.send)
        == []
    )
    assert queue.sent == []
    assert not (store.path("job") / "sent").exists()


def test_a_follower_sends_lost_batches_again_and_says_so(store: JobStore, job: Job) -> None:
    worker = FakeWorker(store)
    for batch in (0, 1):
        store.of(job).results.write(batch, worker.result(job, batch))
    queue = FakeQueue(serve=worker, waits={"job.4"})
    seen = list(islice(follow(store, job, queue), 20))
    assert set(queue.batches) == {3, 2}  # 4 waits in the queue: it is only slow
    assert seen[0].notice == "2 batches of job job had got lost and were sent again."
    assert seen[-1].batches == 6


def test_a_follower_waits_for_a_lease_before_it_sends_anything_again(
    store: JobStore, job: Job
) -> None:
    queue = FakeQueue()
    list(islice(follow(store, job, queue, lease_seconds=60), 10))
    assert queue.sent == []


def test_what_could_not_be_sent_at_submit_is_sent_without_waiting_for_a_lease(
    store: JobStore, job: Job
) -> None:
    queue = FakeQueue(serve=FakeWorker(store))
    seen = list(follow(store, job, queue, lease_seconds=60, queued=False))
    assert queue.batches == [0, 1, 2]
    assert seen[-1].status == Status.COMPLETED
    assert notices(iter(seen)) == []


def test_a_batch_that_somebody_runs_is_not_idle(store: JobStore, job: Job) -> None:
    begin_elsewhere(store, job, 1)
    assert store.of(job).chains.idle_heads(lease_seconds=60) == [0, 2]


# Following


def test_a_follower_ends_with_all_images_counted_and_merged(store: JobStore, job: Job) -> None:
    queue = FakeQueue(serve=FakeWorker(store, {5: "damaged image"}))
    last = list(follow(store, job, queue, queued=False))[-1]
    assert (last.status, last.batches, last.images) == (Status.COMPLETED, 8, 30)
    assert (last.tally.predicted, last.tally.failed) == (29, 1)
    assert last.tally.evaluation.count == 29
    assert (store.path("job") / "predictions.parquet").exists()


def test_a_finished_job_is_followed_to_its_end_at_once_without_a_broker(
    store: JobStore, job: Job
) -> None:
    worker = FakeWorker(store)
    for batch in range(job.batches):
        store.of(job).results.write(batch, worker.result(job, batch))
    merged = store.path("job") / "predictions.parquet"
    seen = []
    for progress in follow(store, job, FakeQueue(available=False)):
        assert progress.batches == job.batches
        seen.append((progress.status, merged.exists()))
    # All results can be read before they are merged.
    assert seen == [(Status.RUNNING, False), (Status.COMPLETED, True)]


def test_a_stopped_job_ends_with_the_results_behind_a_gap_counted(
    store: JobStore, job: Job
) -> None:
    worker = FakeWorker(store)
    for batch in (0, 2, 7):
        store.of(job).results.write(batch, worker.result(job, batch))
    store.of(job).stop(Status.CANCELLED, "enough")
    seen = list(follow(store, job, FakeQueue()))
    assert [progress.status for progress in seen] == [Status.CANCELLED]
    assert (seen[-1].images, seen[-1].tally.predicted) == (10, 10)
    assert not (store.path("job") / "predictions.parquet").exists()


def test_a_damaged_result_is_thrown_away_and_computed_again(store: JobStore, job: Job) -> None:
    worker = FakeWorker(store)
    for batch in range(job.batches):
        store.of(job).results.write(batch, worker.result(job, batch))
    for batch in (3, 4):
        store.of(job).results.path(batch).write_bytes(b"torn")
    queue = FakeQueue(serve=worker)
    seen = list(follow(store, job, queue, lease_seconds=60))
    assert queue.batches == [3, 4]
    assert "is damaged" in notices(iter(seen))[0]
    assert seen[-1].status == Status.COMPLETED
    assert seen[-1].tally.predicted == 30


def test_a_result_that_is_damaged_again_ends_the_following(store: JobStore, job: Job) -> None:
    worker = FakeWorker(store)
    for batch in range(job.batches):
        store.of(job).results.write(batch, worker.result(job, batch))
    store.of(job).results.path(3).write_bytes(b"torn")
    queue = FakeQueue(serve=lambda message: tear(store, job, message.batch))
    with pytest.raises(DamagedResult, match=r"000003\.npz is damaged"):
        list(follow(store, job, queue))


def tear(store: JobStore, job: Job, batch: int) -> None:
    store.of(job).results.path(batch).write_bytes(b"torn")


# What it tells


def test_a_broker_that_goes_away_is_told_once_and_the_job_is_still_followed(
    store: JobStore, job: Job
) -> None:
    worker = FakeWorker(store)
    queue = FakeQueue(available=False)
    progresses = follow(store, job, queue)
    assert notices(islice(progresses, 10)) == [
        f"{AWAY} The job waits meanwhile; nothing of it is lost."
    ]
    for batch in range(job.batches):
        store.of(job).results.write(batch, worker.result(job, batch))
    assert list(progresses)[-1].status == Status.COMPLETED


def test_a_broker_that_comes_back_gets_what_was_lost_with_it(store: JobStore, job: Job) -> None:
    queue = FakeQueue(serve=FakeWorker(store), available=False)
    progresses = follow(store, job, queue)
    next(progresses)
    queue.available = True
    assert list(progresses)[-1].status == Status.COMPLETED


def test_each_time_that_a_broker_goes_away_is_told(store: JobStore, job: Job) -> None:
    queue = FakeQueue(available=False)
    progresses = follow(store, job, queue)
    told = []
    for available in (False, True, False, True, False):
        queue.available = available
        told += [n for n in notices(islice(progresses, 5)) if n.startswith(AWAY)]
    assert len(told) == 3


def test_workers_are_asked_for_again_when_the_question_could_not_be_put(
    store: JobStore, job: Job
) -> None:
    queue = FakeQueue(hands=None, available=False)
    progresses = follow(store, job, queue, intervals=LONELY)
    assert notices(islice(progresses, 5)) == [
        f"{AWAY} The job waits meanwhile; nothing of it is lost."
    ]
    queue.available = True
    told = notices(islice(progresses, 5))
    assert len(told) == 1
    assert told[0].startswith("No worker seems to listen")


def test_what_was_sent_at_once_is_not_sent_again_before_a_lease_has_passed(
    store: JobStore, job: Job
) -> None:
    queue = FakeQueue()  # a worker has taken the messages and begun nothing yet
    list(islice(follow(store, job, queue, lease_seconds=60, queued=False), 10))
    assert queue.batches == [0, 1, 2]


class SlowToList(ResultStore):
    """Results on a file system where finding them takes a while."""

    looks = 0

    def done(self) -> set[int]:
        self.looks += 1
        time.sleep(0.01)
        return super().done()


def test_however_often_it_rings_a_follower_spends_little_of_its_time_on_looking(
    tmp_path: Path,
) -> None:
    store = JobStore(tmp_path)
    stored = store.of(array_job(store, images_of(range(30)), [0] * 30, batch_size=4, window=3))
    stored.results = results = SlowToList(stored.folder, stored.job)
    patient = Intervals(max_throttle_seconds=0.1, resend_seconds=1e9, stall_seconds=1e9)
    began = time.monotonic()
    queue = FakeQueue(notifications=True)
    list(islice(Follower(stored, queue, lease_seconds=0.0, intervals=patient), 6))
    assert time.monotonic() - began >= 5 * 0.1
    assert results.looks == 6


def test_a_follower_looks_soon_after_a_ring_where_looking_is_cheap(
    store: JobStore, job: Job
) -> None:
    patient = Intervals(max_throttle_seconds=5.0, resend_seconds=1e9, stall_seconds=1e9)
    began = time.monotonic()
    list(islice(follow(store, job, FakeQueue(notifications=True), intervals=patient), 6))
    assert time.monotonic() - began < 5.0


@pytest.mark.parametrize(
    ("runtime", "what"),
    [("onnx", ""), ("tensorflow", " for what needs TensorFlow, as digits@1 does")],
)
def test_a_job_that_nobody_begins_is_told_once_with_the_command_that_helps(
    store: JobStore, runtime: Runtime, what: str
) -> None:
    pin = PIN.model_copy(update={"runtime": runtime})
    job = array_job(store, images_of(range(30)), batch_size=4, window=3, model=pin)
    queue = FakeQueue(hands=None)
    told = notices(islice(follow(store, job, queue, intervals=LONELY), 10))
    assert len(told) == 1
    helps = "start one with `celery -A worker worker`, on the same Redis"
    assert told[0].startswith(f"No worker seems to listen{what}: {helps}")


def test_a_job_that_waits_for_others_is_told_so(store: JobStore, job: Job) -> None:
    queue = FakeQueue(hands={"other.0", "other.7"})
    told = notices(islice(follow(store, job, queue, intervals=LONELY), 10))
    assert told == ["The workers are busy with other jobs; job waits for its turn."]


def test_a_job_that_workers_have_taken_and_not_begun_does_not_wait_for_others(
    store: JobStore, job: Job
) -> None:
    queue = FakeQueue(hands={"other.0", "job.1"})
    assert notices(islice(follow(store, job, queue, intervals=LONELY), 10)) == []


def test_a_job_that_no_worker_takes_though_none_is_busy_is_told_so(
    store: JobStore, job: Job
) -> None:
    told = notices(islice(follow(store, job, FakeQueue(), intervals=LONELY), 10))
    assert told == [
        "Workers listen, but none has begun job job yet; if that lasts, `producer doctor` tells "
        "why."
    ]


def test_a_batch_that_takes_long_is_not_missed(store: JobStore, job: Job) -> None:
    begin_elsewhere(store, job, 0)
    queue = FakeQueue(hands=None)  # a busy worker may not answer in time
    progresses = follow(store, job, queue, intervals=LONELY, lease_seconds=60)
    assert notices(islice(progresses, 10)) == []


def test_images_that_a_long_batch_has_finished_count_until_its_result_is_there(
    store: JobStore, job: Job
) -> None:
    stored = store.of(job)
    attempt = begin_elsewhere(store, job, 0)
    attempt.note_finished(2)
    attempt.note_finished(3)
    intervals = Intervals(poll_seconds=0.001, resend_seconds=1e9, long_batch_seconds=0.0)
    progresses = follow(store, job, FakeQueue(), intervals=intervals, lease_seconds=60)
    assert [progress.images for progress in islice(progresses, 3)][-1] == 3
    stored.results.write(0, FakeWorker(store).result(job, 0))
    attempt.end("done")
    assert [progress.images for progress in islice(progresses, 3)] == [4, 4, 4]


def test_a_running_job_whose_batches_are_all_given_up_is_told_that_others_are_first(
    store: JobStore, job: Job
) -> None:
    begin_elsewhere(store, job, 0)
    queue = FakeQueue(hands={"other.0"})
    told = notices(islice(follow(store, job, queue, intervals=LONELY), 10))
    assert told == ["The workers are busy with other jobs; job waits for its turn."]


def test_what_was_begun_and_given_up_is_not_said_to_have_got_lost(
    store: JobStore, job: Job
) -> None:
    store.of(job).attempts.begin(1).end("timeout")
    queue = FakeQueue(serve=FakeWorker(store))
    seen = list(follow(store, job, queue))
    assert sorted(queue.batches) == [0, 1, 2]
    told = " ".join(notices(iter(seen)))
    assert "2 batches of job job had got lost and were sent again." in told
    assert "1 batch of job job had not come to an end and was sent again." in told


def begin_elsewhere(store: JobStore, job: Job, batch: int) -> Attempt:
    """Begin an attempt on another machine, of which only the lease tells whether it lives."""
    attempt = store.of(job).attempts.begin(batch)
    attempt.path.write_bytes(attempt.path.read_bytes().replace(b'"boot": "', b'"boot": "else.'))
    return attempt


def test_a_job_that_all_workers_have_left_is_told_once_per_standstill(
    store: JobStore, job: Job
) -> None:
    worker = FakeWorker(store)
    progresses = follow(store, job, FakeQueue(hands=None), intervals=LONELY)
    for batch in (0, 1):
        store.of(job).results.write(batch, worker.result(job, batch))
        told = notices(islice(progresses, 10))
        assert len(told) == 1
        assert told[0].startswith("No worker seems to listen")


# Storage that goes away


@pytest.mark.parametrize("has_id", [True, False], ids=["with an id", "of before there were ids"])
def test_storage_that_goes_away_is_told_once_and_the_job_is_followed_when_it_is_back(
    tmp_path: Path, has_id: bool
) -> None:
    store = JobStore(tmp_path / "storage")
    job = array_job(store, images_of(range(30)), [0] * 30, batch_size=4, window=3)
    told = f"Shared storage is not there at {store.root}"
    if not has_id:
        (store.root / ID_FILE).unlink()
        told = f"The folder {store.folder} is missing or empty"
    worker = FakeWorker(store)
    for batch in range(4):
        store.of(job).results.write(batch, worker.result(job, batch))
    seen = follow(store, job, FakeQueue(), lease_seconds=100.0)
    assert next(seen).images == 16
    away = store.root.rename(tmp_path / "away")
    absent = list(islice(seen, 3))
    assert [bool(progress.notice) for progress in absent] == [True, False, False]
    assert (absent[0].notice or "").startswith(told)
    assert [(p.images, p.status) for p in absent] == 3 * [(16, Status.RUNNING)]
    assert not store.root.exists()
    away.rename(store.root)
    assert next(seen).images == 16
    for batch in range(4, job.batches):
        store.of(job).results.write(batch, worker.result(job, batch))
    end = list(seen)[-1]
    assert (end.status, end.images) == (Status.COMPLETED, 30)
    assert (store.path("job") / "predictions.parquet").exists()
    assert not list(store.path("job").glob(".new-*"))


def test_another_storage_in_its_place_counts_as_none(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "storage")
    job = array_job(store, images_of(range(30)), [0] * 30, batch_size=4, window=3)
    seen = follow(store, job, FakeQueue(), lease_seconds=100.0)
    next(seen)
    store.root.rename(tmp_path / "away")
    storage_id(store.root)
    assert "mount" in (next(seen).notice or "")


def test_a_job_that_is_removed_while_it_is_followed_ends_the_following(
    store: JobStore, job: Job
) -> None:
    seen = follow(store, job, FakeQueue(), lease_seconds=100.0)
    next(seen)
    store.remove("job")
    with pytest.raises(FileNotFoundError):
        next(seen)


def test_a_full_disk_is_waited_out(
    store: JobStore, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = FakeWorker(store)
    for batch in range(job.batches):
        store.of(job).results.write(batch, worker.result(job, batch))
    commit, full = PredictionsWriter.commit, [True]

    def commit_when_there_is_room(writer: PredictionsWriter) -> Path:
        if full:
            full.pop()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(store.root))
        return commit(writer)

    monkeypatch.setattr(PredictionsWriter, "commit", commit_when_there_is_room)
    seen = list(follow(store, job, FakeQueue()))
    assert seen[1].notice == (
        f"Shared storage at {store.root} has no room left: make some. "
        "The job waits meanwhile; nothing of it is lost."
    )
    assert seen[-1].status is Status.COMPLETED


def test_what_keeps_the_workers_from_working_is_told_as_they_say_it(
    store: JobStore, job: Job
) -> None:
    queue = FakeQueue(hands=None, problems={"worker@here": "Shared storage is read-only here."})
    seen = islice(follow(store, job, queue, intervals=LONELY, lease_seconds=100.0), 10)
    assert notices(seen) == [
        "No worker takes batches. worker@here says: Shared storage is read-only here."
    ]
