"""Who works where: a small JSON heartbeat that each worker keeps in Redis.

It expires when the worker is gone. `producer doctor` reads it, and whoever
follows a job that nobody works on.
"""

import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import redis
from pydantic import BaseModel, Field, ValidationError

SIGN_SECONDS = 2.0
"""How often a worker sends one: Celery's own interval."""
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
    process: str = ""
    """Which process it is: two workers of one node name differ in it."""
    sent_at: float = 0.0
    """Seconds since 1970, by this machine's clock brought to that of Redis."""


def announce(client: "redis.Redis", presence: WorkerHeartbeat) -> None:
    """Send a heartbeat; raises `redis.RedisError`."""
    ahead = seconds_ahead(client)
    facts = {"seconds_ahead": ahead, "sent_at": time.time() - ahead}
    key = f"{PREFIX}{presence.worker}:{presence.process}"
    client.set(key, presence.model_copy(update=facts).model_dump_json(), ex=KEPT_SECONDS)


def living_workers(client: "redis.Redis") -> dict[str, WorkerHeartbeat]:
    """The latest heartbeats by node name; raises `redis.RedisError`."""
    found = sorted(_read_heartbeats(client), key=lambda presence: presence.sent_at)
    return {presence.worker: presence for presence in found}


def namesakes(
    client: "redis.Redis", sleep: Callable[[float], object] = time.sleep
) -> dict[str, list[WorkerHeartbeat]]:
    """Workers of which more than one have the same node name; raises `redis.RedisError`.

    Two signs may be those of a worker and its successor, so then it waits for both to repeat.
    """
    found = _by_name(_read_heartbeats(client))
    if any(len(several) > 1 for several in found.values()):
        sent_at = {p.process: p.sent_at for several in found.values() for p in several}
        sleep(2 * SIGN_SECONDS)
        later = _read_heartbeats(client)
        found = _by_name([p for p in later if p.sent_at > sent_at.get(p.process, p.sent_at)])
    return {name: several for name, several in found.items() if len(several) > 1}


def _by_name(presences: list[WorkerHeartbeat]) -> dict[str, list[WorkerHeartbeat]]:
    found: dict[str, list[WorkerHeartbeat]] = {}
    for presence in sorted(presences, key=lambda presence: presence.process):
        found.setdefault(presence.worker, []).append(presence)
    return found


def _read_heartbeats(client: "redis.Redis") -> list[WorkerHeartbeat]:
    found = []
    for key in client.scan_iter(match=PREFIX + "*", count=1000):
        try:
            found.append(WorkerHeartbeat.model_validate_json(client.get(key) or ""))
        except ValidationError:
            continue  # expired meanwhile, or written by another version
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
