"""How Redis is configured, and how much waits in it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import redis
from kombu.exceptions import OperationalError

from messaging.refusals import REFUSALS, Refusal, probe, refusal_of
from messaging.settings import PREDICT_QUEUES, SWEEP_QUEUE, TRAIN_QUEUE

QUEUES = (*PREDICT_QUEUES, SWEEP_QUEUE, TRAIN_QUEUE)

Fact = TypeVar("Fact")


@dataclass(frozen=True, kw_only=True)
class RedisFacts:
    """How Redis is configured. None where it does not tell this user."""

    aof: bool | None
    save: str | None
    policy: str | None
    used_bytes: int | None
    limit_bytes: int | None
    """0 is no limit."""


def look_at_redis(client: "redis.Redis") -> RedisFacts:
    """How Redis is configured; managed servers refuse CONFIG, and some users INFO."""
    memory: Mapping[str, Any] = permitted(lambda: client.info("memory")) or {}
    persistence: Mapping[str, Any] = permitted(lambda: client.info("persistence")) or {}
    save: Mapping[Any, Any] = permitted(lambda: client.config_get("save")) or {}
    aof = persistence.get("aof_enabled")
    return RedisFacts(
        aof=None if aof is None else bool(aof),
        save=save.get("save"),
        policy=memory.get("maxmemory_policy"),
        used_bytes=memory.get("used_memory"),
        limit_bytes=memory.get("maxmemory"),
    )


def look_at_role(client: "redis.Redis") -> Refusal | None:
    """Why Redis takes no messages, found by trying; raises `redis.RedisError` when it is away.

    A replica counts even where it may be written to: what is written there is lost.
    """
    try:
        probe(client)
    except redis.ResponseError as error:
        if refusal := refusal_of(error):
            return refusal
        raise
    role: Mapping[str, Any] = permitted(lambda: client.info("replication")) or {}
    return REFUSALS["READONLY"] if role.get("role") == "slave" else None


def permitted(ask: Callable[[], Fact]) -> Fact | None:
    """The answer, or None when Redis refuses it."""
    try:
        return ask()
    except (redis.ResponseError, OperationalError) as error:
        if isinstance(error, OperationalError) and refusal_of(error) is None:
            raise
        return None


def queue_lengths(client: "redis.Redis") -> dict[str, int]:
    """How many messages wait in each queue."""
    return {queue: client.llen(queue) for queue in QUEUES}
