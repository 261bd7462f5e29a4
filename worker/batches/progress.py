"""What keeps a long batch alive, and ends it when nobody wants it any more."""

import time
from collections.abc import Callable

from worker.batches.watchdog import Watchdog

LOOK_SECONDS = 2.0
"""How often a running batch looks whether its job was stopped."""
SAVE_SECONDS = 4.0
"""How often what is finished of a long batch is saved, and told to who follows its job."""


class JobStopped(Exception):
    """The job was cancelled, or has failed, while a batch of it was running."""


class Progress:
    """Called at each step of an attempt: an image that was decoded, a chunk that was classified."""

    def __init__(
        self,
        watchdog: Watchdog | None = None,
        is_stopped: Callable[[], bool] = lambda: False,
        tell: Callable[[int], object] = lambda images: None,
    ) -> None:
        self._watchdog = watchdog
        self._is_stopped = is_stopped
        self._tell = tell
        self._looked_at = self._saved_at = time.monotonic()

    def step(self) -> None:
        """Raises `JobStopped`."""
        if self._watchdog:
            self._watchdog.step()
        now = time.monotonic()
        if now - self._looked_at > LOOK_SECONDS:
            self._looked_at = now
            if self._is_stopped():
                raise JobStopped

    def classified(self, images: int) -> bool:
        """A step after which so many images of the batch are finished; says if it is time to save.

        Raises `JobStopped`.
        """
        self.step()
        now = time.monotonic()
        if now - self._saved_at < SAVE_SECONDS:
            return False
        self._saved_at = now
        self._tell(images)
        return True
