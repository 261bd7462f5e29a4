"""What is told of work that lasts, where nothing else moves on the terminal."""

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

FIRST_SECONDS = 2.0
"""What takes less needs no word."""
CLEARED = "\r\x1b[K"


class Line:
    """The line of the terminal on which it is told."""

    def __init__(self) -> None:
        self._is_shown = False

    def show(self, text: str) -> None:
        """Put a text in place of what is there."""
        self._is_shown = True
        os.write(2, f"{CLEARED}{text}".encode())

    def clear(self) -> None:
        """Make room for something else."""
        if self._is_shown:
            self._is_shown = False
            os.write(2, CLEARED.encode())


line = Line()


@contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """Tell what the block does while it lasts, and for how long by now; gone when it ends.

    A signal does it: a process with threads could not fork, as whoever reads many images does.
    """
    if not sys.stderr.isatty() or threading.current_thread() is not threading.main_thread():
        yield
        return
    began, width = time.monotonic(), shutil.get_terminal_size().columns

    def tell(*_: object) -> None:
        passed = f" ... {time.monotonic() - began:.0f} s"
        line.show(f"{what[: width - 1 - len(passed)]}{passed}")

    before = signal.signal(signal.SIGALRM, tell)
    signal.siginterrupt(signal.SIGALRM, False)  # libraries need not expect a read that is cut off
    signal.setitimer(signal.ITIMER_REAL, FIRST_SECONDS, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        line.clear()
