"""An ended job is not read again until it changes, whoever asks."""

from pathlib import Path

from storage.jobs.ended import EndedJobs
from storage.jobs.job import Status
from storage.jobs.store import JobStore
from storage.jobs.stored_job import StoredJob
from tests.builders import array_job, images_of, result_of


def test_an_ended_job_is_looked_at_once_and_an_open_one_each_time(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    looks: list[str] = []

    def find(stored: StoredJob) -> tuple[Status, bool]:
        looks.append(stored.job.id)
        status = stored.status(len(stored.results.done()))
        return status, status.ended

    jobs = EndedJobs(store, find)
    job = array_job(store, images_of(range(2)), batch_size=2)
    assert [jobs["job"], jobs["job"]] == [Status.QUEUED] * 2
    assert len(looks) == 2
    store.of(job).results.write(0, result_of([0, 1]))
    assert [jobs["job"], jobs["job"], jobs["job"]] == [Status.COMPLETED] * 3
    assert len(looks) == 3
    store.of(job).results.discard(0)
    assert jobs["job"] == Status.QUEUED
    assert len(looks) == 4
