"""A worker that is told to stop finishes what it runs, gives back the rest, and ends in time.

Celery's warm shutdown waits for running tasks for ever; its soft shutdown sleeps out its whole
time even when nothing runs any more. So: a warm one, and a cold one when time is up. Even that
waits for ever for a process of the pool that hangs, or that nobody has told to end: it is killed.
"""

import logging
import os
import signal
import threading
import time
from contextlib import suppress
from typing import Any

from billiard.process import active_children

from messaging.settings import broker_settings

log = logging.getLogger(__name__)

COLD_SECONDS = 5.0
"""How long the processes of the pool may take for a cold shutdown."""


def end_in_time(how: str, **_: Any) -> None:
    """Turn a warm shutdown into a cold one after `shutdown_seconds`."""
    if how != "Warm":
        return
    seconds = broker_settings().shutdown_seconds

    def end() -> None:
        log.warning("Still at work after %s s: what runs is given back to the queue.", seconds)
        os.kill(os.getpid(), signal.SIGQUIT)
        time.sleep(COLD_SECONDS)
        for child in active_children():
            log.warning("A process that does not end is killed.")
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
