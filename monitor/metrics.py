"""Metrics for Prometheus that Flower lacks: queue, jobs, speed, models. Read at every scrape.

Counters count from the start of this process on. Workers notify of every batch, so batches are
counted by what they say, and only once.
"""

import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import redis
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client import Counter as CounterMetric
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from messaging.messages import MESSAGES, SENT_AT, PredictBatch, key_of
from messaging.notifications import AllNotifications
from messaging.settings import CONSUMERS, unacked_key
from messaging.worker_heartbeats import living_workers
from storage.errors import NotFound, StorageError
from storage.jobs.ended import EndedJobs
from storage.jobs.job import Status
from storage.jobs.store import JobStore, apart
from storage.jobs.stored_job import StoredJob
from storage.models.store import ModelStore

MALFORMED = (ValueError, LookupError, TypeError, OverflowError, RecursionError)
"""What reading JSON that anybody may have written can raise."""
UNREADABLE = "unreadable"
"""In place of the status of a job that cannot be read; `producer jobs` tells why."""

SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class System(Collector):
    """The whole system as one collector. A Redis that is away leaves what storage knows.

    And the other way round.
    """

    def __init__(
        self,
        client: "redis.Redis",
        jobs: JobStore,
        models: ModelStore,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._models = models
        self._now = now
        self._store = jobs
        self._jobs = OpenJobs(jobs)
        self._work = Work(client)
        self._one_at_a_time = threading.Lock()

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not need a Redis."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now."""
        with self._one_at_a_time:
            up = gauge("batchsight_redis_up", "Whether Redis answers.")
            try:
                queue = [
                    *queue_figures(self._client, self._now()),
                    *hand_figures(self._client, self._store, self._now()),
                    *worker_figures(self._client),
                ]
                self._work.hear()
                up.add_metric([], 1)
            except (redis.RedisError, OSError):
                queue = []
                up.add_metric([], 0)
            yield up
            yield from queue
            yield from self._work.registry.collect()
            yield from self._storage_figures()

    def _storage_figures(self) -> Iterator[Metric]:
        up = gauge("batchsight_storage_up", "Whether shared storage can be read.")
        try:
            kept = [self._jobs.metrics(), *model_metrics(self._models, self._now())]
            up.add_metric([], 1)
        except OSError:
            kept = []
            up.add_metric([], 0)
        yield up
        yield from kept


def gauge(name: str, says: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, says, labels=labels)


def queue_figures(client: "redis.Redis", now: float) -> Iterator[Metric]:
    """What waits in Redis and for how long; raises `redis.RedisError`."""
    waiting = gauge("batchsight_queue_messages", "Messages that wait in a queue.", "queue")
    oldest = gauge(
        "batchsight_queue_oldest_seconds", "How long the next message has waited.", "queue"
    )
    for queue in MESSAGES:
        waiting.add_metric([queue], client.llen(queue))
        message: Any = client.lindex(queue, -1)
        if message is None:
            oldest.add_metric([queue], 0.0)
        elif (sent_at := time_of_sending(message)) is not None:
            oldest.add_metric([queue], max(0.0, now - sent_at))
    return iter((waiting, oldest))


def hand_figures(client: "redis.Redis", jobs: JobStore, now: float) -> Iterator[Metric]:
    """What workers have in hand and since when; raises `redis.RedisError`.

    The message of a worker that was killed stays with Redis for minutes. It no longer counts once
    another one has done its batch, or the job has ended.
    """
    taken = gauge(
        "batchsight_unacknowledged_messages", "Messages that workers have taken and not done."
    )
    longest = gauge("batchsight_unacknowledged_oldest_seconds", "Since when the oldest is taken.")
    since: list[float] = []
    for key in map(unacked_key, CONSUMERS):
        messages: Any = client.hgetall(key)
        times: Any = client.zrange(f"{key}.index", 0, -1, withscores=True)
        since += [time for tag, time in times if not is_done(messages.get(tag, ""), jobs)]
    taken.add_metric([], len(since))
    longest.add_metric([], max(0.0, now - min(since, default=now)))
    return iter((taken, longest))


def is_done(taken: str, jobs: JobStore) -> bool:
    """Whether what a taken message asks for has been done, or has become needless."""
    try:
        headers = json.loads(taken)[0]["headers"]
        if headers["task"] != PredictBatch.task:
            return False
        job_id, batch = key_of(headers["id"]).rsplit(".", 1)
        stored = jobs.open(job_id)
        return stored.stopped() is not None or stored.results.has(int(batch))
    except NotFound:
        return True
    except (*MALFORMED, AttributeError, StorageError, OSError):
        return False


def time_of_sending(message: str) -> float | None:
    """Seconds since 1970 from a message's header; None of those that beat has sent."""
    try:
        sent_at = float(json.loads(message)["headers"][SENT_AT])
    except MALFORMED:
        return None
    return sent_at if math.isfinite(sent_at) else None


def worker_figures(client: "redis.Redis") -> Iterator[Metric]:
    """How many workers and children send heartbeats; raises `redis.RedisError`."""
    present = living_workers(client).values()
    workers = gauge("batchsight_workers", "Prediction workers that send heartbeats.")
    workers.add_metric([], len(present))
    children = gauge("batchsight_worker_children", "Batches that they can run at once.")
    children.add_metric([], sum(presence.children for presence in present))
    return iter((workers, children))


class Work:
    """Counts what workers notify of: batches, images and seconds, by model version."""

    def __init__(self, client: "redis.Redis") -> None:
        self.registry = CollectorRegistry()
        self._notifications = AllNotifications(client)
        self._batches = CounterMetric(
            "batchsight_batches", "Batches done.", ["model"], registry=self.registry
        )
        self._images = CounterMetric(
            "batchsight_images", "Images classified, or failed.", ["model"], registry=self.registry
        )
        self._failed = CounterMetric(
            "batchsight_failed_images",
            "Images with an error record.",
            ["model"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "batchsight_batch_seconds",
            "Time a worker spends on a batch.",
            buckets=SECONDS_BUCKETS,
            registry=self.registry,
        )

    def hear(self) -> None:
        """Count what has come since the last time; raises `redis.RedisError`."""
        for notification in self._notifications.heard():
            if notification.get("event") == "batch" and "images" in notification:
                try:
                    model, images = str(notification["model"]), int(notification["images"])
                    failed, seconds = (
                        int(notification.get("failed", 0)),
                        float(notification["ms"]) / 1000,
                    )
                except MALFORMED:
                    continue  # not from a worker
                self._batches.labels(model).inc()
                self._images.labels(model).inc(images)
                self._failed.labels(model).inc(failed)
                self._seconds.observe(seconds)


class OpenJobs:
    """How many jobs there are of each status."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._statuses = EndedJobs(jobs, self._find_status)

    def metrics(self) -> Metric:
        counts: Counter[str] = Counter()
        for job_id in self._jobs.ids():
            with apart(job_id, lambda _: counts.update([UNREADABLE])):
                counts[self._statuses[job_id]] += 1
        family = gauge("batchsight_jobs", "Jobs on shared storage.", "status")
        for status in (*Status, UNREADABLE):
            family.add_metric([status], counts[status])
        return family

    @staticmethod
    def _find_status(stored: StoredJob) -> tuple[Status, bool]:
        status = stored.status(len(stored.results.done()))
        return status, status.ended


def model_metrics(models: ModelStore, now: float) -> Iterator[Metric]:
    """Which version of each model is champion, how good it is and how old the newest one is."""
    number = gauge("batchsight_champion_version", "Version that the next job gets.", "model")
    accuracy = gauge("batchsight_champion_accuracy", "Its accuracy, 0 to 1.", "model")
    age = gauge("batchsight_training_age_seconds", "Since the newest version was trained.", "model")
    for name in models.names():
        try:
            newest = models.version(name, models.numbers(name)[-1])
            age.add_metric([name], max(0.0, now - newest.manifest.created_at.timestamp()))
            if champion := models.champion(name):
                number.add_metric([name], champion.number)
                known = models.version(name, champion.number).manifest.accuracy
                if known is not None:
                    accuracy.add_metric([name], known)
        except StorageError:
            continue  # damaged; `trainer models` tells
    return iter((number, accuracy, age))
