"""All that the doctor's checks judge by.

A fact that could not be found out is None, and the checks that depend on it are skipped.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import redis
from kombu.exceptions import OperationalError

from messaging.beat_heartbeats import living_beats
from messaging.broker import brief, connect
from messaging.refusals import PASSWORD, Refusal, refusal_of
from messaging.settings import TENSORFLOW_QUEUE, BrokerSettings
from messaging.worker_heartbeats import WorkerHeartbeat, keras_version, namesakes, seconds_ahead
from producer.doctor.probes.flower import FlowerFacts, look_at_flower
from producer.doctor.probes.redis import (
    QUEUES,
    RedisFacts,
    look_at_redis,
    look_at_role,
    permitted,
    queue_lengths,
)
from producer.doctor.probes.storage import StorageFacts, look_at_storage
from producer.doctor.probes.waiting_jobs import waiting_jobs
from producer.doctor.probes.workers import WorkerFacts, inspect_workers
from producer.doctor.settings import DoctorSettings
from storage.settings import StorageSettings

NOTICE_SECONDS = 5.0
"""Until workers that wait for new storage have seen it, and said so."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that the checks judge by."""

    broker: str
    """The broker's URL without secrets."""
    visibility_timeout_seconds: float
    time_limit_seconds: float
    storage: StorageFacts
    keras: str | None
    flower: FlowerFacts
    unreachable: str | None = None
    """Why no Redis answers."""
    refused: str | None = None
    """What Redis says to this user and password."""
    refusal: Refusal | None = None
    """Why Redis answers, but takes no messages."""
    redis: RedisFacts | None = None
    seconds_ahead: float | None = None
    """This machine's clock minus that of Redis."""
    waiting: Mapping[str, tuple[int, int]] | None = None
    """Messages in each queue, twice, at least a second apart."""
    for_tensorflow: Mapping[str, str] = field(default_factory=dict)
    """Jobs that wait for a worker with TensorFlow, and the versions that they are pinned to."""
    workers: tuple[WorkerFacts, ...] | None = None
    beats: tuple[str, ...] | None = None
    namesakes: Mapping[str, int] | None = None
    """Node names that more than one worker has, and how many."""

    @property
    def presences(self) -> list[WorkerHeartbeat]:
        """The heartbeats of the workers that answer."""
        return [w.presence for w in self.workers or () if w.presence]


def gather_facts(
    broker: BrokerSettings, storage: StorageSettings, settings: DoctorSettings
) -> Facts:
    """Look at everything; takes a few seconds, and raises nothing that a check could name."""
    facts = Facts(
        broker=broker.public_url,
        visibility_timeout_seconds=broker.visibility_timeout_seconds,
        time_limit_seconds=broker.time_limit_seconds,
        storage=look_at_storage(storage.root),
        keras=keras_version(),
        flower=look_at_flower(settings.flower_url),
    )
    client = connect(broker)
    try:
        facts = replace(facts, refusal=look_at_role(client))
        return look_at_line(facts, client, broker)
    except (redis.RedisError, OperationalError, OSError) as error:
        refusal = refusal_of(error)
        if refusal is PASSWORD:
            return replace(facts, refused=brief(error))
        if refusal:
            return replace(facts, refusal=refusal)
        return replace(facts, unreachable=brief(error))
    finally:
        client.close()


def look_at_line(facts: Facts, client: "redis.Redis", settings: BrokerSettings) -> Facts:
    """Add what Redis and, through it, the workers tell. What this user may not ask stays None."""
    if facts.storage.new:
        time.sleep(NOTICE_SECONDS)
    before = permitted(lambda: queue_lengths(client))
    workers = permitted(lambda: inspect_workers(settings, client))
    after = permitted(lambda: queue_lengths(client))
    return replace(
        facts,
        redis=look_at_redis(client),
        seconds_ahead=permitted(lambda: seconds_ahead(client)),
        waiting={q: (before[q], after[q]) for q in QUEUES} if before and after else None,
        for_tensorflow=permitted(
            lambda: waiting_jobs(client, TENSORFLOW_QUEUE, Path(facts.storage.root))
        )
        or {},
        workers=workers,
        beats=permitted(lambda: living_beats(client)),
        namesakes=permitted(lambda: {n: len(several) for n, several in namesakes(client).items()}),
    )
