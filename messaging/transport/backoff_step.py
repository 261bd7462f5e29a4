"""The step of Celery's consumer that pauses when a connection was of no use, see `backoff`."""

from typing import Any

from celery.bootsteps import StartStopStep
from celery.worker import state

from messaging.transport.backoff import backoff


class BackoffStep(StartStopStep):
    """Pauses before the consumer is begun anew."""

    def start(self, consumer: Any) -> None:
        """Nothing is to be done."""

    def stop(self, consumer: Any) -> None:
        """Pause, unless the worker ends."""
        if not is_ending():
            backoff.wait(is_ending)


def is_ending() -> bool:
    """Whether the worker was told to end; an exit code of 0 tells it as well."""
    return state.should_stop is not None or state.should_terminate is not None
