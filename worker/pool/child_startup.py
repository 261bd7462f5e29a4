"""What a child of the pool does before it takes its first batch."""

import gc
import logging
from typing import Any

from celery.signals import worker_process_init

from worker import tasks
from worker.pool.children import children
from worker.runtimes.startup import start_tensorflow

log = logging.getLogger(__name__)


@worker_process_init.connect
def prepare_child(**_: Any) -> None:
    """Import TensorFlow and load the champions before the child takes its first batch."""
    with children.preparing():
        start_tensorflow()
        # TensorFlow's objects stay: looking through them takes twice as long as changing the model.
        gc.freeze()
        loaded = tasks.batch_runner().models.warm_champions()
        log.info("Ready with %s.", ", ".join(loaded) or "no model yet")
