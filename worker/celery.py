"""The worker's Celery app: `celery -A worker worker`."""

import logging
import os
from typing import Any

from celery.signals import celeryd_after_setup

from messaging.app import make_app
from messaging.settings import PREDICT_QUEUE, SWEEP_QUEUE, TENSORFLOW_QUEUE
from process.limits import fitting_children, usable_cores, usable_memory
from storage.settings import storage_settings
from worker.pool.intake import IntakeStep
from worker.runtimes.installed import has_tensorflow
from worker.settings import worker_settings

log = logging.getLogger(__name__)


def configure() -> dict[str, Any]:
    """What the environment says about this worker."""
    storage_settings()  # what cannot be used is told at the start
    return {"worker_concurrency": worker_settings().concurrency or fitting_children()}


app = make_app(
    "worker",
    queues=[PREDICT_QUEUE, *([TENSORFLOW_QUEUE] if has_tensorflow() else []), SWEEP_QUEUE],
    include=["worker.tasks", "worker.pool.heartbeat", "worker.pool.child_startup"],
    configure=configure,
)
app.steps["consumer"].add(IntakeStep)


@celeryd_after_setup.connect
def settle_concurrency(instance: Any, conf: Any, **_: Any) -> None:
    """Say what limits the number of children, and let the heartbeat tell it."""
    conf.worker_concurrency = instance.concurrency
    cores = len(os.sched_getaffinity(0))
    if instance.concurrency < cores and instance.concurrency == fitting_children():
        log.info(
            "%s of %s cores are used: the CPU quota allows %s, and there are %.1f GB of memory. "
            "BATCHSIGHT_CONCURRENCY or --concurrency sets another number of children.",
            instance.concurrency,
            cores,
            usable_cores(),
            usable_memory() / 1e9,
        )
