"""What keeps a long batch alive, and ends it when nobody wants it any more."""

import time
from collections.abc import Callable

from worker.batches.watchdog import Watchdog

LOOK_SECONDS = 2.0
"""How often a running batch looks whether its job was stopped."""


class JobStopped(Exception):
    """The job was cancelled, or has failed, while a batch of it was running."""


class Progress:
    """Called at each step of an attempt: an image that was decoded, a chunk that was classified."""

    def __init__(
        self, watchdog: Watchdog | None = None, is_stopped: Callable[[], bool] = lambda: False
    ) -> None:
        self._watchdog = watchdog
        self._is_stopped = is_stopped
        self._looked_at = time.monotonic()

    def step(self) -> None:
        """Raises `JobStopped`."""
        if self._watchdog:
            self._watchdog.step()
        now = time.monotonic()
        if now - self._looked_at > LOOK_SECONDS:
            self._looked_at = now
            if self._is_stopped():
                raise JobStopped
