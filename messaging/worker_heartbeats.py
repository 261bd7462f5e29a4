"""Who works where: a small JSON heartbeat that each worker keeps in Redis.

It expires when the worker is gone. `producer doctor` reads it, and whoever
follows a job that nobody works on.
"""

import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import redis
from pydantic import BaseModel, Field, ValidationError

KEPT_SECONDS = 10
PREFIX = "batchsight:worker:"


class WorkerHeartbeat(BaseModel, frozen=True):
    """What a worker tells of itself."""

    worker: str
    """The Celery node name, `worker@host`."""
    host: str
    machine: str
    """Names the kernel: containers on one machine have different hosts, but share its cores."""
    cpus: tuple[int, ...]
    """Numbers of the cores it may use."""
    cores: int = Field(ge=1)
    """How many of them its quota allows."""
    children: int = Field(ge=1)
    """Each has one TensorFlow thread."""
    storage: str
    """The storage root as the worker sees it."""
    storage_id: str | None
    """None when the worker cannot read or write its storage."""
    problem: str | None = None
    """Why it takes no batches, or one of its children does not, and what to do."""
    keras: str | None
    """Version of Keras, None when it is not installed."""
    seconds_ahead: float = 0.0
    """Its clock minus that of Redis, measured at each heartbeat."""


def announce(client: "redis.Redis", presence: WorkerHeartbeat) -> None:
    """Send a heartbeat; raises `redis.RedisError`."""
    present = presence.model_copy(update={"seconds_ahead": seconds_ahead(client)})
    client.set(PREFIX + presence.worker, present.model_dump_json(), ex=KEPT_SECONDS)


def living_workers(client: "redis.Redis") -> dict[str, WorkerHeartbeat]:
    """The latest heartbeats by node name; raises `redis.RedisError`."""
    found = {}
    for key in client.scan_iter(match=PREFIX + "*", count=1000):
        try:
            presence = WorkerHeartbeat.model_validate_json(client.get(key) or "")
        except ValidationError:
            continue  # expired meanwhile, or written by another version
        found[presence.worker] = presence
    return found


def seconds_ahead(client: "redis.Redis") -> float:
    """This machine's clock minus that of Redis, exact to half a round trip."""
    before = time.time()
    seconds, microseconds = client.time()
    return (before + time.time()) / 2 - (seconds + microseconds / 1e6)


@cache
def keras_version() -> str | None:
    """The Keras installed here, found without importing it."""
    try:
        return version("keras")
    except PackageNotFoundError:
        return None
