"""Metrics for Prometheus, from storage and a Redis played by a dictionary or a real one."""

import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from messaging.app import make_app
from messaging.broker import connect
from messaging.messages import PredictBatch
from messaging.notifications import Notifications
from messaging.settings import BrokerSettings
from monitor.metrics import System, time_of_sending
from storage.jobs.job import Status
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import array_job, as_any, images_of, publish, result_of
from tests.processes import RedisServer

Metrics = dict[tuple[str, ...], float]


def metrics(system: System) -> Metrics:
    """All samples as Prometheus reads them, by name and label values."""
    registry = CollectorRegistry()
    registry.register(system)
    text = generate_latest(registry).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_redis_that_is_away_leaves_what_storage_knows(
    tmp_path: Path, own_redis: RedisServer
) -> None:
    store = ModelStore(tmp_path)
    store.promote(publish(store, "digits"))
    publish(store, "digits")
    own_redis.kill()
    system = System(own_redis.client(), JobStore(tmp_path), store)
    seen = metrics(system)
    assert seen[("batchsight_redis_up",)] == 0
    assert seen[("batchsight_champion_version", "digits")] == 1
    assert seen[("batchsight_champion_accuracy", "digits")] == pytest.approx(14 / 15)
    assert 0 <= seen[("batchsight_training_age_seconds", "digits")] < 60
    assert not any(name[0].startswith("batchsight_queue") for name in seen)


def test_jobs_are_counted_by_status_as_they_change(tmp_path: Path, own_redis: RedisServer) -> None:
    jobs = JobStore(tmp_path)
    job = array_job(jobs, images_of(range(10)))
    array_job(jobs, images_of(range(3)), id="other")
    (jobs.path("damaged")).mkdir()
    assert (
        metrics(System(own_redis.client(), jobs, ModelStore(tmp_path)))[
            ("batchsight_jobs", "unreadable")
        ]
        == 1
    )
    system = System(own_redis.client(), jobs, ModelStore(tmp_path))

    def count(status: Status) -> float:
        return metrics(system)[("batchsight_jobs", status)]

    assert count(Status.QUEUED) == 2
    jobs.of(job).results.write(0, result_of([0, 1, 2, 0]))
    assert count(Status.RUNNING) == 1
    jobs.of(job).stop(Status.CANCELLED, "enough")
    assert (count(Status.RUNNING), count(Status.CANCELLED)) == (0, 1)
    assert count(Status.CANCELLED) == 1  # from memory
    jobs.of(job).unstop()
    assert (count(Status.RUNNING), count(Status.CANCELLED)) == (1, 0)


def test_storage_that_is_away_leaves_what_redis_knows(
    tmp_path: Path, own_redis: RedisServer
) -> None:
    system = System(own_redis.client(), JobStore(tmp_path), ModelStore(tmp_path))
    assert metrics(system)[("batchsight_storage_up",)] == 1
    (tmp_path / "jobs").write_bytes(b"a file where a folder should be")
    seen = metrics(system)
    assert (seen[("batchsight_storage_up",)], seen[("batchsight_redis_up",)]) == (0, 1)
    assert ("batchsight_queue_messages", "predict") in seen
    assert not any(name[0] == "batchsight_jobs" for name in seen)


def test_batches_are_counted_once_from_what_the_bells_tell(
    tmp_path: Path, own_redis: RedisServer
) -> None:
    client = own_redis.client()

    def notify(job: str, **fields: str | float) -> None:
        Notifications(client, job).notify(event="batch", number=0, model="digits@1", **fields)

    notify("old", images=1000, ms=20.0)
    system = System(client, JobStore(tmp_path), ModelStore(tmp_path))
    first = metrics(system)
    assert ("batchsight_images_total", "digits@1") not in first  # notified before its time
    notify("old", images=100, ms=20.0)
    notify("new", images=7, failed=2, ms=400.0)
    Notifications(client, "new").notify(event="batch", number=1, skipped="done before")
    Notifications(client, "train-1").notify(event="epoch", epoch=1)
    for _ in range(2):
        seen = metrics(system)
        assert seen[("batchsight_images_total", "digits@1")] == 107
        assert seen[("batchsight_failed_images_total", "digits@1")] == 2
        assert seen[("batchsight_batches_total", "digits@1")] == 2
        assert seen[("batchsight_batch_seconds_count",)] == 2
        assert seen[("batchsight_batch_seconds_bucket", "0.025")] == 1
    client.flushall()
    notify("newest", images=1, ms=1.0)
    assert metrics(system)[("batchsight_images_total", "digits@1")] == 108


def test_the_queue_is_told_with_the_age_of_its_oldest_message(
    tmp_path: Path, own_redis: RedisServer
) -> None:
    client = own_redis.client()
    now = [0.0]
    system = System(client, JobStore(tmp_path), ModelStore(tmp_path), now=lambda: now[0])
    assert metrics(system)[("batchsight_queue_oldest_seconds", "predict")] == 0
    app = make_app("test", settings=BrokerSettings(redis_url=own_redis.url))
    for batch in range(3):
        PredictBatch(job="a", batch=batch).send(app)
    message: str = as_any(client.lindex("predict", -1))
    sent_at = time_of_sending(message)
    assert sent_at
    assert '"a.0.' in message
    now[0] = sent_at + 90
    client.hset("unacked.worker", "tag", "[]")
    client.zadd("unacked.worker.index", {"tag": now[0] - 40})
    seen = metrics(system)
    assert seen[("batchsight_queue_messages", "predict")] == 3
    assert seen[("batchsight_queue_oldest_seconds", "predict")] == pytest.approx(90)
    assert seen[("batchsight_unacknowledged_messages",)] == 1
    assert seen[("batchsight_unacknowledged_oldest_seconds",)] == pytest.approx(40)


def test_what_a_killed_worker_had_in_hand_counts_until_it_is_done_by_another(
    tmp_path: Path, own_redis: RedisServer
) -> None:
    client = own_redis.client()
    jobs = JobStore(tmp_path)
    system = System(client, jobs, ModelStore(tmp_path), now=lambda: 1000.0)
    app = make_app("test", settings=BrokerSettings(redis_url=own_redis.url))
    job = array_job(jobs, images_of(range(10)))
    other = array_job(jobs, images_of(range(10)), id="other.1")
    for sent_at, batch in enumerate(
        (
            PredictBatch(job=job.id, batch=0),
            PredictBatch(job=job.id, batch=1),
            PredictBatch(job=other.id, batch=0),
            PredictBatch(job="pruned", batch=0),
        )
    ):
        batch.send(app)
        message = json.loads(as_any(client.lpop("predict")))
        client.hset("unacked.worker", f"{sent_at}", json.dumps([message, "", "predict"]))
        client.zadd("unacked.worker.index", {f"{sent_at}": 900 + sent_at})

    def in_hand() -> tuple[float, float]:
        seen = metrics(system)
        return (
            seen[("batchsight_unacknowledged_messages",)],
            seen[("batchsight_unacknowledged_oldest_seconds",)],
        )

    assert in_hand() == (3, 100)
    jobs.of(job).results.write(0, result_of([0, 1, 2, 0]))
    assert in_hand() == (2, 99)
    jobs.of(other).stop(Status.CANCELLED, "enough")
    assert in_hand() == (1, 99)
    jobs.of(job).stop(Status.CANCELLED, "enough")
    assert in_hand() == (0, 0)


def test_what_anybody_has_written_into_redis_leaves_the_figures_readable(
    tmp_path: Path, own_redis: RedisServer
) -> None:
    client = own_redis.client()
    system = System(
        connect(BrokerSettings(redis_url=own_redis.url)), JobStore(tmp_path), ModelStore(tmp_path)
    )
    metrics(system)
    for queue in ("predict", "sweep", "train"):
        client.rpush(queue, b"\xff\xfe")
    client.hset("unacked.worker", b"\xff", b"\xff")
    client.zadd("unacked.worker.index", {b"\xff": 5})
    client.set("batchsight:worker:\xff", b"\xff")
    strange: list[dict[Any, Any]] = [{"images": "many", "model": "m"}, {"images": 1}, {b"\xff": 1}]
    for fields in strange:
        client.xadd(b"batchsight:notifications:\xff", {"event": "batch", **fields})
    seen = metrics(system)
    assert seen[("batchsight_queue_messages", "predict")] == 1
    assert seen[("batchsight_unacknowledged_messages",)] == 1
    assert not any(name[0] == "batchsight_images_total" for name in seen)


@pytest.mark.parametrize(
    "message",
    ["", "[]", "{}", '{"headers": {}}', '{"headers": 3}', "[" * 100_000]
    + [f'{{"headers": {{"batchsight_sent_at": {t}}}}}' for t in ("NaN", "1e999", "1" + "0" * 400)],
    ids=lambda message: message[:45],
)
def test_the_age_of_a_strange_message_is_unknown(message: str) -> None:
    assert time_of_sending(message) is None
