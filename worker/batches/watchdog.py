"""Ends a step that takes too long, however long the whole may take.

A step is one image that is decoded or one chunk that is classified. First it is interrupted by
`StepTooLong`. Where that cannot reach it, in the depths of a library, a thread that needs no
interpreter ends the process and leaves a traceback.
"""

import faulthandler
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STDERR = 2
"""Not `sys.stderr`, in whose place Celery puts an object that is no file."""
LATE_SECONDS = 0.5
"""A limit may be so much late: setting it anew for every small image would cost too much."""

LOADING_SECONDS = 300.0
"""A runtime and a model have so long to be loaded, which is no step of a batch."""


class StepTooLong(BaseException):
    """A step without progress has taken too long. No `except Exception` of a library stops it."""


class Watchdog:
    """One per process, since it uses the process's alarm.

    Beginning the thread that ends the process takes most of a millisecond. So it goes on beyond the
    end of a batch, and is stopped only where no other batch follows soon.
    """

    def __init__(self, soft_seconds: float, hard_seconds: float) -> None:
        self._soft_seconds = soft_seconds
        self._hard_seconds = hard_seconds
        self._late_seconds = min(LATE_SECONDS, soft_seconds / 10)
        self._lock = threading.Lock()
        self._armed_at: float | None = None
        self._idle = True
        self._warden: threading.Thread | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Limit every step of the block; raises `StepTooLong`."""
        began = time.monotonic()
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        before = signal.signal(signal.SIGALRM, interrupt)
        self._idle = False
        try:
            self._arm()
            signal.setitimer(signal.ITIMER_REAL, self._soft_seconds)
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            self._idle = True
            self._begin_warden()
            if left:  # somebody else had set the alarm
                still = left - (time.monotonic() - began)
                signal.setitimer(signal.ITIMER_REAL, max(still, 0.001))

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """Within `watching`, a block that nothing interrupts, such as an import.

        What is half imported is of no use to any later batch. It ends the process after
        `LOADING_SECONDS`, or the limit of a step where that is longer.
        """
        signal.setitimer(signal.ITIMER_REAL, 0)
        seconds = max(LOADING_SECONDS, self._hard_seconds)
        with self._lock:
            faulthandler.dump_traceback_later(seconds, exit=True, file=STDERR)
            self._armed_at = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._armed_at = None
            self.step()

    def step(self) -> None:
        """A step is done, and the next one begins."""
        if self._arm():
            signal.setitimer(signal.ITIMER_REAL, self._soft_seconds)

    def _arm(self) -> bool:
        """Give the process time anew, unless that was done just now."""
        now = time.monotonic()
        with self._lock:
            if self._armed_at is not None and now - self._armed_at < self._late_seconds:
                return False
            faulthandler.dump_traceback_later(self._hard_seconds, exit=True, file=STDERR)
            self._armed_at = now
        return True

    def _begin_warden(self) -> None:
        if self._warden is None:
            self._warden = threading.Thread(target=self._disarm_idle, name="watchdog", daemon=True)
            self._warden.start()

    def _disarm_idle(self) -> None:
        pause = min(1.0, self._hard_seconds / 8)
        while True:
            time.sleep(pause)
            with self._lock:
                armed_at = self._armed_at
                if armed_at is None or not self._idle:
                    continue
                if time.monotonic() - armed_at > self._hard_seconds / 4:
                    faulthandler.cancel_dump_traceback_later()
                    self._armed_at = None


def interrupt(signum: int, frame: FrameType | None) -> None:
    """Raise in the main thread, as soon as it is back from a library."""
    raise StepTooLong
