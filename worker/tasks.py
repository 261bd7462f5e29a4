"""The Celery tasks of a worker: thin, the logic is in `runner` and `sweep`."""

import logging
import time
from functools import cache
from typing import Any

from celery.exceptions import Reject

from messaging.broker import connect, waiting_task_ids
from messaging.errors import BadMessage
from messaging.measured_speeds import MeasuredSpeeds
from messaging.messages import PredictBatch, Sweep
from messaging.notifications import Notifications
from messaging.settings import PREDICT_QUEUES, broker_settings
from storage.errors import NotFound, StorageAway
from storage.jobs.reuse import ReuseStore
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.settings import storage_settings
from worker.batches.reuse import Reuse
from worker.batches.runner import BatchRunner, Summary
from worker.batches.watchdog import Watchdog
from worker.celery import app
from worker.pool.children import children, unready
from worker.settings import worker_settings
from worker.sweep import Sweeper

log = logging.getLogger(__name__)

RETURN_SECONDS = 1.0
"""How long a batch is held back that cannot be run here now: its worker closes its queues."""


@cache
def batch_runner() -> BatchRunner:
    """The runner of this process, made after the fork."""
    from worker.runtimes.model_cache import ModelCache

    settings = storage_settings()
    client = connect(broker_settings())
    return BatchRunner(
        jobs=JobStore(settings.root),
        models=ModelCache(ModelStore(settings.root)),
        reuse=Reuse(ReuseStore(settings.root), worker_settings().reuse_limit),
        settings=settings,
        watchdog=Watchdog(
            broker_settings().soft_time_limit_seconds, broker_settings().time_limit_seconds
        ),
        send=lambda message: message.send(app),
        tell_speed=MeasuredSpeeds(client).note,
        notify=lambda job_id, fields: Notifications(client, job_id).notify(**fields),
    )


@cache
def sweeper() -> Sweeper:
    settings = storage_settings()
    return Sweeper(JobStore(settings.root), settings.lease_seconds)


@app.task(name=PredictBatch.task, acks_late=True, reject_on_worker_lost=True)
def predict(*args: Any, **fields: Any) -> Summary:
    try:
        if args:
            raise BadMessage(f"A {PredictBatch.task} message was dropped: it has no named fields.")
        return batch_runner().run(PredictBatch.from_wire(fields))
    except (BadMessage, NotFound) as error:
        log.warning("%s", error)
        return {"dropped": str(error)[:200]}
    except (StorageAway, ImportError) as error:
        problem = str(error) if isinstance(error, StorageAway) else unready(error)
        children.complain(problem)
        time.sleep(RETURN_SECONDS)
        raise Reject(problem, requeue=True) from error


# Sent every few seconds: shown in Flower, it would hide all else.
@app.task(name=Sweep.task, expires=60, send_events=False)
def sweep(*args: Any, **fields: Any) -> Summary:
    """Send lost batches of standing jobs again."""
    client = connect(broker_settings())
    sent = sweeper().sweep(
        lambda messages: [message.send(app) for message in messages],
        lambda: waiting_task_ids(client, *PREDICT_QUEUES),
    )
    return {"sent again": sent} if sent else {"standing still": 0}
