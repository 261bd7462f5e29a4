"""The Celery task of a trainer: thin, the logic is in `queued_training` and `pipeline`."""

import logging
from typing import Any

import redis
from billiard.exceptions import WorkerLostError
from celery.signals import task_failure

from messaging.broker import connect
from messaging.errors import BadMessage
from messaging.lock import hold_lock
from messaging.messages import TrainModel
from messaging.notifications import RESULT_KEPT_SECONDS, Notifications
from messaging.settings import broker_settings
from storage.errors import StorageError
from trainer.celery import app
from trainer.errors import TrainerError
from trainer.pipeline import Pipeline
from trainer.queue.queued_training import run_queued
from trainer.settings import read_settings

log = logging.getLogger(__name__)


# Acknowledged early: Redis hands out again what stays unacknowledged for long.
@app.task(name=TrainModel.task, acks_late=False, throws=(TrainerError, StorageError))
def train(*args: Any, **fields: Any) -> dict[str, str | float | bool]:
    """Train a network, publish the model and promote it if it is good enough."""
    try:
        if args:
            raise BadMessage(f"A {TrainModel.task} message was dropped: it has no named fields.")
        message = TrainModel.from_wire(fields)
    except BadMessage as error:
        log.warning("%s", error)
        return {"dropped": str(error)[:200]}
    storage, broker, settings = read_settings()
    pipeline = Pipeline.of(storage, settings)
    return run_queued(
        message,
        run=pipeline.run,
        training_images=pipeline.training_images,
        trained_since=pipeline.trained_since,
        turn=lambda: hold_lock(connect(broker), f"train:{message.name}"),
        notify=Notifier(message.run),
    )


@task_failure.connect(sender=train)
def tell_of_death(exception: BaseException, kwargs: dict[str, Any], **_: Any) -> None:
    """Tell those who follow a training that its process died: it cannot do so itself."""
    if isinstance(exception, WorkerLostError) and "run" in kwargs:
        reason = f"The process of the trainer died ({exception}): is there enough memory?"
        Notifier(str(kwargs["run"]))(event="failed", reason=reason)


class Notifier:
    """Notifies those who follow a training; when Redis is away, the log says that nobody hears."""

    def __init__(self, run: str) -> None:
        self._notifications = Notifications(
            connect(broker_settings()), run, kept_seconds=RESULT_KEPT_SECONDS
        )

    def __call__(self, **facts: str | float) -> None:
        try:
            self._notifications.notify(**facts)
        except (redis.RedisError, OSError) as error:
            log.warning("Nobody could be told of the training's progress: %s", error)
