"""A Redis stream that wakes those who wait for a job or a training.

They may be lost: whoever listens takes them as a hint to look at the files, which are the truth.
"""

from collections.abc import Iterator
from typing import Any

import redis

PREFIX = "batchsight:notifications:"
KEPT_NOTIFICATIONS = 10_000
KEPT_SECONDS = 300
"""After the last one. They are hints for a job that runs, and need not outlive it."""
RESULT_KEPT_SECONDS = 24 * 3600
"""Of a training nothing else tells those who follow it what it came to."""


class Notifications:
    """Those of one job or training; gone `kept_seconds` after the last one."""

    def __init__(
        self, client: "redis.Redis", name: str, *, kept_seconds: int = KEPT_SECONDS
    ) -> None:
        self._client = client
        self._key = PREFIX + name
        self._kept_seconds = kept_seconds
        self._heard = "0"

    def notify(self, **fields: str | float) -> None:
        """Tell all listeners; the fields are small facts for people to read."""
        entry: dict[Any, Any] = dict(fields)
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.xadd(self._key, entry, maxlen=KEPT_NOTIFICATIONS, approximate=True)
            pipeline.expire(self._key, self._kept_seconds)
            pipeline.execute()

    def listen(
        self, *, since: str | None = None, wait_seconds: float = 1.0
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield what has come since `since`: a list of them, or an empty one after some quiet.

        `since` is "0" for everything kept, "$" for what comes from now on; by default what was
        not heard before, should this have been called before.
        """
        last = self._heard if since is None else since
        while True:
            answer: Any = self._client.xread(
                {self._key: last}, count=1000, block=max(1, int(wait_seconds * 1000))
            )
            notifications = [fields for _, entries in answer or () for _, fields in entries]
            if answer:
                last = self._heard = answer[0][1][-1][0]
            yield notifications


class AllNotifications:
    """Those of all jobs and trainings, from now on: for whoever counts what happens."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._last: dict[str, str] | None = None

    def heard(self) -> list[dict[str, Any]]:
        """What has come since the last call; nothing at the first. Raises `redis.RedisError`."""
        names = set(self._client.scan_iter(match=f"{PREFIX}*", count=1000))
        if self._last is None:
            self._last = {name: self._latest(name) for name in names}
        # A stream that was not there before is new as a whole.
        self._last = {name: self._last.get(name, "0") for name in names}
        notifications: list[dict[str, Any]] = []
        while self._last:
            streams: dict[Any, Any] = dict(self._last)
            answer: Any = self._client.xread(streams, count=1000)
            if not answer:
                break
            for name, entries in answer:
                notifications += [fields for _, fields in entries]
                self._last[name] = entries[-1][0]
        return notifications

    def _latest(self, name: str) -> str:
        newest: Any = self._client.xrevrange(name, count=1)
        return str(newest[0][0]) if newest else "0"
