"""Why a Redis that answers does not do what it is asked, in words, and the way out.

A refusal is like a lost connection: it passes, and what was asked for is asked for again.
"""

import re
from contextlib import suppress
from dataclasses import dataclass

import redis

PROBE = "batchsight:probe"
"""A list that is never there."""


class Refused(redis.ConnectionError):
    """A refusal as its sentence, raised where a lost connection is reckoned with."""

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Refusal:
    says: str
    """Goes on after `Redis`."""
    remedy: str
    """Goes on after a colon."""


REPLICA = (
    "promote it with `redis-cli replicaof no one`, or point BATCHSIGHT_REDIS_URL to its primary"
)
CLUSTER = Refusal("is part of a cluster", "point BATCHSIGHT_REDIS_URL to a Redis that stands alone")
PASSWORD = Refusal(
    "refuses the password", "check BATCHSIGHT_REDIS_URL or BATCHSIGHT_REDIS_PASSWORD"
)
REFUSALS = {
    "READONLY": Refusal("is a replica and takes no messages", REPLICA),
    "UNBLOCKED": Refusal("has just become a replica and takes no messages", REPLICA),
    "MASTERDOWN": Refusal("is a replica that has lost its primary", REPLICA),
    "LOADING": Refusal("is still loading its data", "wait until it has"),
    "MISCONF": Refusal(
        "cannot write to its disk and takes no messages",
        "make room or repair the disk; its log says more",
    ),
    "OOM": Refusal(
        "is at its memory limit and takes no more messages",
        "let the workers catch up or raise maxmemory",
    ),
    "NOREPLICAS": Refusal(
        "has fewer replicas than it must have and takes no messages",
        "start them, or lower its min-replicas-to-write",
    ),
    "BUSY": Refusal("is busy with a script", "wait for it, or end it with `redis-cli script kill`"),
    "NOAUTH": PASSWORD,
    "WRONGPASS": PASSWORD,
    "DENIED": Refusal(
        "lets in nobody from another machine", "give it a password, or turn off protected-mode"
    ),
    "MOVED": CLUSTER,
    "ASK": CLUSTER,
    "CROSSSLOT": CLUSTER,
    "CLUSTERDOWN": CLUSTER,
    "TRYAGAIN": CLUSTER,
}
NO_CONNECTION_LEFT = Refusal("has no connection left", "close some, or raise its maxclients")


def probe(client: "redis.Redis") -> None:
    """Let Redis refuse now what it would refuse later; raises `redis.RedisError`.

    A replica, a full disk or a full memory answer every question, and refuse the first message.
    """
    with suppress(redis.exceptions.NoPermissionError):  # that says nothing of other keys
        client.rpushx(PROBE, "")


def refusal_of(error: BaseException) -> Refusal | None:
    """What kind of refusal an error is; None for anything else.

    Kombu wraps what Redis says, and keeps it as the cause.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, redis.RedisError) and (refusal := _read(found)):
            return refusal
        found = found.__cause__
    return None


def explain(error: BaseException, where: str = "") -> str | None:
    """The sentence for a refusal by the Redis at the URL `where`; None for anything else."""
    if refusal := refusal_of(error):
        place = f"Redis at {where}" if where else "Redis"
        return f"{place} {refusal.says}: {refusal.remedy}."
    return None


def _read(error: redis.RedisError) -> Refusal | None:
    text = str(error)
    if "max number of clients" in text:
        return NO_CONNECTION_LEFT
    named = re.search(r"(?:^|caused error: )([A-Z]+) ", text)
    code = error.status_code or (named[1] if named else "")
    if code == "NOPERM":
        right = text.rpartition("caused error: ")[2].removeprefix("NOPERM ").rstrip(".")
        return Refusal(f"denies a right ({right})", "grant it with `redis-cli acl setuser`")
    return REFUSALS.get(code)
