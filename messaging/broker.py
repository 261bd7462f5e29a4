"""Redis itself: a connection with clear errors, and a look at what waits in a queue."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from kombu.exceptions import OperationalError

from messaging.errors import BrokerUnavailable
from messaging.refusals import explain
from messaging.settings import BrokerSettings


def connect(settings: BrokerSettings) -> "redis.Redis":
    """A client for the broker. Connects on first use."""
    return redis.Redis.from_url(
        settings.url,
        decode_responses=True,
        encoding_errors="replace",  # anybody may have written anything
        socket_connect_timeout=5,
        socket_timeout=30,
        socket_keepalive=True,
        health_check_interval=10,
    )


@contextmanager
def broker_errors(settings: BrokerSettings) -> Iterator[None]:
    """Turn what Redis clients raise into `BrokerUnavailable` with the way out."""
    try:
        yield
    except (redis.RedisError, OperationalError, OSError) as error:
        raise BrokerUnavailable(_sentence(error, settings.public_url)) from error


def _sentence(error: BaseException, where: str) -> str:
    return explain(error, where) or (
        f"No Redis answers at {where} ({brief(error)}): start it, or set BATCHSIGHT_REDIS_URL."
    )


def waiting_task_ids(client: "redis.Redis", *queues: str) -> set[str]:
    """Ids of the tasks that wait in these queues, not yet taken by any worker."""
    ids = set()
    for item in (item for queue in queues for item in client.lrange(queue, 0, -1)):
        try:
            ids.add(str(json.loads(item)["headers"]["id"]))
        except (ValueError, LookupError, TypeError, RecursionError):
            continue  # not a message of ours; a worker will drop it
    return ids


def brief(error: BaseException) -> str:
    """The first line of an error."""
    return str(error).strip().rstrip(".").splitlines()[0] if str(error).strip() else repr(error)
