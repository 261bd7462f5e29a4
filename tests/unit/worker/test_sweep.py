import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from messaging.messages import PredictBatch
from storage.jobs.job import Job, Status
from storage.jobs.store import JobStore
from tests.builders import describe_job, result_of
from worker.sweep import Sweeper

LEASE = 15.0


class Queue:
    """Keeps what is sent and knows what waits."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.waiting: set[str] = set()
        self.looks = 0

    def send(self, messages: Sequence[PredictBatch]) -> None:
        self.sent += [message.key for message in messages]

    def waiting_task_ids(self) -> set[str]:
        self.looks += 1
        return self.waiting


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path)


@pytest.fixture
def queue() -> Queue:
    return Queue()


def age(store: JobStore, job: Job) -> None:
    then = time.time() - LEASE - 5
    for folder, _, names in os.walk(store.path(job.id)):
        for path in (Path(folder), *(Path(folder, name) for name in names)):
            os.utime(path, (then, then))


def quiet_job(store: JobStore, job_id: str = "job", batches: int = 5, window: int = 2) -> Job:
    job = describe_job(id=job_id, total=batches, batch_size=1, window=window)
    with store.draft() as draft:
        store.commit(draft, job)
    age(store, job)
    return job


def complete(store: JobStore, job: Job) -> None:
    for batch in range(job.batches):
        store.of(job).results.write(batch, result_of([0]))
    age(store, job)


def sweep(sweeper: Sweeper, queue: Queue) -> dict[str, int]:
    queue.sent.clear()
    return sweeper.sweep(queue.send, queue.waiting_task_ids)


def test_the_head_of_every_stalled_chain_is_sent_again(store: JobStore, queue: Queue) -> None:
    quiet_job(store)
    assert sweep(Sweeper(store, LEASE), queue) == {"job": 2}
    assert queue.sent == ["job.0", "job.1"]


def test_what_was_just_sent_has_a_lease_of_time(store: JobStore, queue: Queue) -> None:
    job = quiet_job(store)
    sweeper = Sweeper(store, LEASE)
    sweep(sweeper, queue)
    assert sweep(sweeper, queue) == {}
    age(store, job)
    assert sweep(sweeper, queue) == {"job": 2}


def test_what_still_waits_in_the_queue_is_not_sent_again(store: JobStore, queue: Queue) -> None:
    quiet_job(store)
    queue.waiting = {PredictBatch(job="job", batch=1).task_id(), "somebody-elses"}
    assert sweep(Sweeper(store, LEASE), queue) == {"job": 1}
    assert queue.sent == ["job.0"]


def test_a_batch_that_somebody_runs_is_left_to_him(store: JobStore, queue: Queue) -> None:
    job = quiet_job(store)
    store.of(job).attempts.begin(0)
    assert sweep(Sweeper(store, LEASE), queue) == {"job": 1}
    assert queue.sent == ["job.1"]


def test_the_queue_is_looked_at_once_and_only_when_something_stalls(
    store: JobStore, queue: Queue
) -> None:
    sweeper = Sweeper(store, LEASE)
    complete(store, quiet_job(store, "done"))
    assert sweep(sweeper, queue) == {}
    assert queue.looks == 0
    quiet_job(store, "one")
    quiet_job(store, "two")
    assert sweep(sweeper, queue) == {"one": 2, "two": 2}
    assert queue.looks == 1


@pytest.mark.parametrize("status", [Status.CANCELLED, Status.FAILED])
def test_a_stopped_job_is_left_alone_until_it_is_taken_up_again(
    store: JobStore, queue: Queue, status: Status
) -> None:
    job = quiet_job(store)
    store.of(job).stop(status, "reason")
    sweeper = Sweeper(store, LEASE)
    assert sweep(sweeper, queue) == {}
    store.of(job).unstop()
    assert sweep(sweeper, queue) == {"job": 2}


def test_a_completed_job_is_taken_up_again_when_a_result_is_discarded(
    store: JobStore, queue: Queue
) -> None:
    job = quiet_job(store)
    complete(store, job)
    sweeper = Sweeper(store, LEASE)
    assert sweep(sweeper, queue) == {}
    store.of(job).results.discard(3)
    assert sweep(sweeper, queue) == {"job": 1}
    assert queue.sent == ["job.3"]


def test_another_job_under_the_id_of_a_removed_one_is_swept(store: JobStore, queue: Queue) -> None:
    complete(store, quiet_job(store))
    sweeper = Sweeper(store, LEASE)
    assert sweep(sweeper, queue) == {}
    store.remove("job")
    quiet_job(store)
    assert sweep(sweeper, queue) == {"job": 2}


def test_an_ended_job_is_not_read_again(store: JobStore, queue: Queue) -> None:
    class CountingStore(JobStore):
        gets = 0

        def get(self, job_id: str) -> Job:
            CountingStore.gets += 1
            return super().get(job_id)

    complete(store, quiet_job(store))
    sweeper = Sweeper(CountingStore(store.root), LEASE)
    for _ in range(3):
        sweep(sweeper, queue)
    assert CountingStore.gets == 1


def test_a_damaged_or_half_removed_job_keeps_no_other_from_being_swept(
    store: JobStore, queue: Queue
) -> None:
    (store.path(quiet_job(store, "damaged").id) / "job.json").write_text("{")
    gone = store.path(quiet_job(store, "half").id)
    (gone / "results").rmdir()
    quiet_job(store, "sound")
    assert sweep(Sweeper(store, LEASE), queue) == {"sound": 2}
