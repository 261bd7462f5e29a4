"""The worker's Celery app: `celery -A worker worker`."""

import gc
import logging
import os
from typing import Any

from celery.signals import celeryd_after_setup, worker_process_init
from pydantic import ValidationError

from messaging.app import make_app
from messaging.settings import PREDICT_QUEUE, SWEEP_QUEUE, broker_settings, problems_of
from storage.settings import storage_settings
from worker.settings import worker_settings

log = logging.getLogger(__name__)

try:
    settings = worker_settings()
    broker_settings()
    storage_settings()
except ValidationError as error:
    raise SystemExit(f"error: The environment cannot be used: {problems_of(error)}.") from None

app = make_app(
    "worker", queues=[PREDICT_QUEUE, SWEEP_QUEUE], include=["worker.tasks", "worker.presence"]
)
app.conf.worker_concurrency = settings.concurrency or len(os.sched_getaffinity(0))


@celeryd_after_setup.connect
def remember_concurrency(instance: Any, conf: Any, **_: Any) -> None:
    """Let the children know among how many they share the cores."""
    conf.worker_concurrency = instance.concurrency


def threads_per_child() -> int:
    """TensorFlow threads of each child: they share the cores, but none goes without."""
    cores = len(os.sched_getaffinity(0))
    return max(1, cores // (app.conf.worker_concurrency or cores))


@worker_process_init.connect
def prepare_child(**_: Any) -> None:
    """Import TensorFlow and load the champions before the child takes its first batch."""
    from worker.predictor import limit_threads
    from worker.tasks import batch_runner

    limit_threads(threads_per_child())
    # TensorFlow's objects stay: to look through them takes twice as long as to change the model.
    gc.freeze()
    loaded = batch_runner().models.warm_champions()
    log.info("Ready with %s.", ", ".join(loaded) or "no model yet")
