"""Ends a step that takes too long, however long the whole may take.

A step is one image that is decoded or one chunk that is classified. First it is interrupted by
`StepTooLong`. Where that cannot reach it, in the depths of a library, a thread that needs no
interpreter ends the process and leaves a traceback.
"""

import faulthandler
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STDERR = 2
"""Not `sys.stderr`, in whose place Celery puts an object that is no file."""
LATE_SECONDS = 0.5
"""A limit may be so much late: setting it anew for every small image would cost too much."""


class StepTooLong(BaseException):
    """A step without progress has taken too long. No `except Exception` of a library stops it."""


class Watchdog:
    """One per process, since it uses the process's alarm."""

    def __init__(self, soft_seconds: float, hard_seconds: float) -> None:
        self._soft_seconds = soft_seconds
        self._hard_seconds = hard_seconds
        self._set_at = 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Limit every step of the block; raises `StepTooLong`."""
        began = time.monotonic()
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            self._set()
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()
            signal.signal(signal.SIGALRM, before)
            if left:  # somebody else had set the alarm
                still = left - (time.monotonic() - began)
                signal.setitimer(signal.ITIMER_REAL, max(still, 0.001))

    def step(self) -> None:
        """A step is done, and the next one begins."""
        if time.monotonic() - self._set_at > min(LATE_SECONDS, self._soft_seconds / 10):
            self._set()

    def _set(self) -> None:
        self._set_at = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, self._soft_seconds)
        faulthandler.dump_traceback_later(self._hard_seconds, exit=True, file=STDERR)


def interrupt(signum: int, frame: FrameType | None) -> None:
    """Raise in the main thread, as soon as it is back from a library."""
    raise StepTooLong
