"""A step that takes too long is interrupted, and where that does not help its process ends."""

import signal
import subprocess
import sys
import time

import pytest

from worker.batches.watchdog import StepTooLong, Watchdog


def test_steps_go_on_as_long_as_they_come() -> None:
    watchdog = Watchdog(soft_seconds=0.5, hard_seconds=60)
    with watchdog.watching():
        for _ in range(8):
            time.sleep(0.15)
            watchdog.step()


def test_a_step_without_an_end_is_interrupted_and_the_alarm_is_as_it_was() -> None:
    handler = signal.getsignal(signal.SIGALRM)
    with pytest.raises(StepTooLong), Watchdog(soft_seconds=0.2, hard_seconds=60).watching():
        time.sleep(30)
    assert signal.getsignal(signal.SIGALRM) is handler


def test_a_timer_that_somebody_else_has_set_goes_on() -> None:
    before = signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        with Watchdog(soft_seconds=30, hard_seconds=60).watching():
            pass
        assert 90 < signal.getitimer(signal.ITIMER_REAL)[0] <= 100
    finally:
        signal.setitimer(signal.ITIMER_REAL, *before)


def test_what_is_loaded_is_not_interrupted_and_the_next_step_is() -> None:
    watchdog = Watchdog(soft_seconds=0.2, hard_seconds=0.6)
    with pytest.raises(StepTooLong), watchdog.watching():
        with watchdog.unhurried():
            time.sleep(1.5)
        began = time.monotonic()
        time.sleep(30)
    assert time.monotonic() - began < 20


def test_what_no_exception_reaches_ends_the_process_with_a_traceback() -> None:
    program = """
import signal, time
from worker.batches.watchdog import Watchdog
with Watchdog(soft_seconds=0.2, hard_seconds=0.6).watching():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    time.sleep(60)
"""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert time.monotonic() - began < 20
    assert "Timeout" in done.stderr
    assert "line 6" in done.stderr


def test_a_process_that_has_nothing_to_do_lives() -> None:
    program = """
import time
from worker.batches.watchdog import Watchdog
watchdog = Watchdog(soft_seconds=0.5, hard_seconds=1.0)
for _ in range(3):
    with watchdog.watching():
        pass
time.sleep(3)
with watchdog.watching():
    time.sleep(0.1)
time.sleep(2)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
