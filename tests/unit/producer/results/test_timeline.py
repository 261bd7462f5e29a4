import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from producer.results.merging import merge
from producer.results.timeline import trace
from storage.jobs.job import Job
from storage.jobs.store import JobStore
from tests.builders import array_job, result_of

BEGAN = datetime(2026, 1, 31, 12, tzinfo=UTC)
AT = BEGAN.timestamp()


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path)


@pytest.fixture
def job(store: JobStore) -> Job:
    """Five batches of two images."""
    return array_job(store, np.zeros((10, 8, 8), np.uint8), batch_size=2, created_at=BEGAN)


def log(
    store: JobStore,
    job: Job,
    batch: int,
    worker: str,
    began: float,
    seconds: float | None,
    **phases: float,
) -> None:
    """One attempt; `seconds` is none when its worker died."""
    key = f"{batch}-{worker}-{began}"
    start: dict[str, object] = {
        "event": "start",
        "worker": worker,
        "process": {"pid": worker},
        "lease": None,
    }
    lines = [{**start, "key": key, "at": AT + began}]
    if seconds is not None:
        end = {"event": "end", "outcome": "done", "seconds": seconds, "phases": phases}
        lines.append({"key": key, **end})
    with store.of(job).attempts.path(batch).open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def phases_of(store: JobStore, job: Job) -> dict[str, float]:
    timeline = trace(store.of(job))
    assert timeline is not None
    phases = {phase.name: phase.seconds for phase in timeline.phases}
    assert sum(phases.values()) == pytest.approx(timeline.wall_seconds, abs=1e-4)
    return phases


def submitted(store: JobStore, job: Job, seconds: float) -> None:
    os.utime(store.path(job.id) / "job.json", (AT + seconds, AT + seconds))


def test_phases_come_in_the_order_in_which_a_batch_meets_them(store: JobStore, job: Job) -> None:
    """Whatever the first batch did: one that is known already has no `predict`."""
    log(store, job, 0, "a", 2, 1.0, open=0.1, reuse=0.5, write=0.1)
    log(store, job, 1, "a", 4, 1.0, open=0.1, reuse=0.1, predict=0.5, write=0.1, unheard=0.1)
    submitted(store, job, 1)
    known = ["open", "reuse", "predict", "write", "untraced", "hand-over"]
    assert [name for name in phases_of(store, job) if name in known] == known
    assert "unheard" in phases_of(store, job)


def test_a_job_that_nobody_has_begun_has_no_timeline(store: JobStore, job: Job) -> None:
    assert trace(store.of(job)) is None


def test_phases_of_processes_side_by_side_add_up_to_the_wall_time(
    store: JobStore, job: Job
) -> None:
    submitted(store, job, 1.0)
    log(store, job, 0, "a:1", 2.0, 4.0, read=1.0, predict=3.0)
    log(store, job, 1, "b:1", 2.0, 2.0, predict=1.5)
    log(store, job, 2, "b:1", 5.0, 3.0, predict=3.0)
    phases = phases_of(store, job)
    assert phases["submit"] == pytest.approx(1.0)
    assert phases["queue"] == pytest.approx(1.0)
    assert phases["read"] == pytest.approx(0.5)
    assert phases["predict"] == pytest.approx((3.0 + 1.5 + 3.0) / 2)
    assert phases["untraced"] == pytest.approx(0.5 / 2)
    assert phases["hand-over"] == pytest.approx(1.0 / 2)
    assert phases["idle"] == pytest.approx(2.0 / 2)
    timeline = trace(store.of(job))
    assert timeline is not None
    assert timeline.wall_seconds == pytest.approx(8.0)
    assert timeline.processes == 2


def test_the_time_of_an_attempt_whose_worker_died_is_lost(store: JobStore, job: Job) -> None:
    submitted(store, job, 0.0)
    log(store, job, 0, "a:1", 0.0, None)
    log(store, job, 0, "a:2", 3.0, 1.0, predict=1.0)
    timeline = trace(store.of(job))
    assert timeline is not None
    assert timeline.processes == 1, "the second process came after the first"
    assert phases_of(store, job) == pytest.approx({"lost": 3.0, "predict": 1.0})


def test_the_merge_counts_from_the_last_result(store: JobStore, job: Job) -> None:
    submitted(store, job, 0.0)
    for batch in range(job.batches):
        store.of(job).results.write(batch, result_of([1, 1]))
        log(store, job, batch, "a:1", float(batch), 1.0, predict=1.0)
    merge(store.of(job))
    times = {"began_at": AT + 1.0, "ended_at": AT + 5.5}
    (store.path(job.id) / "merge.json").write_text(json.dumps(times))
    assert phases_of(store, job) == pytest.approx({"predict": 5.0, "merge": 0.5})


def test_a_job_that_nobody_followed_was_unattended(store: JobStore, job: Job) -> None:
    submitted(store, job, 0.0)
    for batch in range(job.batches):
        store.of(job).results.write(batch, result_of([1, 1]))
        log(store, job, batch, "a:1", float(batch), 1.0, predict=1.0)
    merge(store.of(job))
    phases = phases_of(store, job)
    assert phases["unattended"] > 3600
    assert 0 < phases["merge"] < 60
