"""Pauses of a consumer that Redis lets connect, and then refuses what it asks for.

A right that its user lacks, say. Celery waits where it cannot connect; where it can, it would
connect, fail and connect again some hundred times a minute.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kombu.transport.virtual import Empty

LONGEST_SECONDS = 30.0


class Backoff:
    """Grows while no connection is of any use, and is gone after one that was."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._consumed = True

    @contextmanager
    def consuming(self) -> Iterator[None]:
        """Note that a connection is of use: the block gets a message, or finds none."""
        try:
            yield
        except Empty:
            self._reset()
            raise
        self._reset()

    def _reset(self) -> None:
        self._consumed, self.seconds = True, 0.0

    def wait(self, is_ending: Callable[[], bool]) -> None:
        """Pause before the next connection, unless `is_ending` by then."""
        if not self._consumed:
            self.seconds = min(max(1.0, 2 * self.seconds), LONGEST_SECONDS)
        self._consumed = False
        until = time.monotonic() + self.seconds
        while time.monotonic() < until and not is_ending():
            time.sleep(0.1)


backoff = Backoff()
