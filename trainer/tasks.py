"""The Celery task of a trainer: thin, the logic is in `queued_training` and `pipeline`."""

import logging
from typing import Any

import redis

from messaging.broker import connect
from messaging.doorbell import Doorbell
from messaging.errors import BadMessage
from messaging.lock import hold_lock
from messaging.messages import TrainModel
from storage.errors import StorageError
from trainer.celery import app
from trainer.errors import TrainerError
from trainer.pipeline import Pipeline
from trainer.queued_training import run_queued
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
    client = connect(broker)
    doorbell = Doorbell(client, message.run)

    def ring(**facts: str | float) -> None:
        try:
            doorbell.ring(**facts)
        except (redis.RedisError, OSError) as error:
            log.warning("Nobody could be told of the training's progress: %s", error)

    pipeline = Pipeline.of(storage, settings)
    return run_queued(
        message,
        run=pipeline.run,
        trained_since=pipeline.trained_since,
        turn=lambda: hold_lock(client, f"train:{message.name}"),
        ring=ring,
    )
