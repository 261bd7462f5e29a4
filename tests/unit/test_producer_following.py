from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from producer.errors import DamagedResult
from producer.following import Follower, Progress, Rhythm, idle_heads, send_lost
from storage.jobs import Job, JobStore, Status
from tests.builders import array_job, images_of
from tests.fake_queue import AWAY, FakeQueue, FakeWorker

QUICK = Rhythm(look_seconds=0.001, heal_seconds=0.0, lonely_seconds=1e9)
LONELY = Rhythm(look_seconds=0.001, heal_seconds=1e9, lonely_seconds=0.0)


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
    rhythm: Rhythm = QUICK,
    lease_seconds: float = 0.0,
    queued: bool = True,
) -> Iterator[Progress]:
    return iter(
        Follower(store, job, queue, lease_seconds=lease_seconds, queued=queued, rhythm=rhythm)
    )


def notices(progresses: Iterator[Progress]) -> list[str]:
    return [progress.notice for progress in progresses if progress.notice]


# Sending again


def test_only_batches_whose_messages_are_not_waiting_are_sent_again(
    store: JobStore, job: Job
) -> None:
    queue = FakeQueue(waits={"job.1", "other.2"})
    assert send_lost(store, job, [0, 1, 2], queue) == 2
    assert queue.batches == [0, 2]
    assert {message.job for message in queue.sent} == {"job"}
    assert (store.path("job") / "sent").exists()


def test_when_all_messages_wait_nothing_is_sent_and_nothing_noted(
    store: JobStore, job: Job
) -> None:
    queue = FakeQueue(waits={"job.0"})
    assert send_lost(store, job, [0], queue) == 0
    assert queue.sent == []
    assert not (store.path("job") / "sent").exists()


def test_a_follower_sends_lost_batches_again_and_says_so(store: JobStore, job: Job) -> None:
    worker = FakeWorker(store)
    for batch in (0, 1):
        store.write_result(job, batch, worker.result(job, batch))
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
    attempt = store.begin_attempt(job, 1)
    attempt.path.write_bytes(attempt.path.read_bytes().replace(b'"boot": "', b'"boot": "else.'))
    assert idle_heads(store, job, lease_seconds=60) == [0, 2]
    attempt.end("done")


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
        store.write_result(job, batch, worker.result(job, batch))
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
        store.write_result(job, batch, worker.result(job, batch))
    store.stop(job, Status.CANCELLED, "enough")
    seen = list(follow(store, job, FakeQueue()))
    assert [progress.status for progress in seen] == [Status.CANCELLED]
    assert (seen[-1].images, seen[-1].tally.predicted) == (10, 10)
    assert not (store.path("job") / "predictions.parquet").exists()


def test_a_damaged_result_is_thrown_away_and_computed_again(store: JobStore, job: Job) -> None:
    worker = FakeWorker(store)
    for batch in range(job.batches):
        store.write_result(job, batch, worker.result(job, batch))
    for batch in (3, 4):
        store.result_path(job, batch).write_bytes(b"torn")
    queue = FakeQueue(serve=worker)
    seen = list(follow(store, job, queue, lease_seconds=60))
    assert queue.batches == [3, 4]
    assert "is damaged" in notices(iter(seen))[0]
    assert seen[-1].status == Status.COMPLETED
    assert seen[-1].tally.predicted == 30


def test_a_result_that_is_damaged_again_ends_the_following(store: JobStore, job: Job) -> None:
    worker = FakeWorker(store)
    for batch in range(job.batches):
        store.write_result(job, batch, worker.result(job, batch))
    store.result_path(job, 3).write_bytes(b"torn")
    queue = FakeQueue(serve=lambda message: tear(store, job, message.batch))
    with pytest.raises(DamagedResult, match=r"000003\.npz is damaged"):
        list(follow(store, job, queue))


def tear(store: JobStore, job: Job, batch: int) -> None:
    store.result_path(job, batch).write_bytes(b"torn")


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
        store.write_result(job, batch, worker.result(job, batch))
    assert list(progresses)[-1].status == Status.COMPLETED


def test_a_broker_that_comes_back_gets_what_was_lost_with_it(store: JobStore, job: Job) -> None:
    queue = FakeQueue(serve=FakeWorker(store), available=False)
    progresses = follow(store, job, queue)
    next(progresses)
    queue.available = True
    assert list(progresses)[-1].status == Status.COMPLETED


def test_a_job_that_nobody_begins_is_told_once_with_the_command_that_helps(
    store: JobStore, job: Job
) -> None:
    queue = FakeQueue(workers=False)
    told = notices(islice(follow(store, job, queue, rhythm=LONELY), 10))
    assert len(told) == 1
    assert told[0].startswith("No worker seems to listen: start one with `celery -A worker worker`")


def test_a_job_that_waits_for_others_is_told_so(store: JobStore, job: Job) -> None:
    told = notices(islice(follow(store, job, FakeQueue(), rhythm=LONELY), 10))
    assert told == ["The workers are busy with other jobs; job waits for its turn."]


def test_a_batch_that_takes_long_is_not_missed(store: JobStore, job: Job) -> None:
    store.begin_attempt(job, 0)
    assert notices(islice(follow(store, job, FakeQueue(), rhythm=LONELY), 10)) == []


def test_a_job_that_all_workers_have_left_is_told_once_per_standstill(
    store: JobStore, job: Job
) -> None:
    worker = FakeWorker(store)
    progresses = follow(store, job, FakeQueue(workers=False), rhythm=LONELY)
    for batch in (0, 1):
        store.write_result(job, batch, worker.result(job, batch))
        told = notices(islice(progresses, 10))
        assert len(told) == 1
        assert told[0].startswith("No worker seems to listen")
