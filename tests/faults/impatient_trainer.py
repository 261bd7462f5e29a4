"""A real trainer whose lock runs out after seconds: `celery -A tests.faults.impatient_trainer`."""

from functools import partial

from messaging.lock import hold_lock
from trainer import tasks
from trainer.celery import app

LOCK_SECONDS = 3

vars(tasks)["hold_lock"] = partial(hold_lock, seconds=LOCK_SECONDS)

__all__ = ["app"]
