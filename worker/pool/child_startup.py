"""What a child of the pool does before it takes its first batch."""

import logging
from typing import Any

from celery.signals import worker_process_init

from worker import tasks
from worker.pool.children import children

log = logging.getLogger(__name__)


@worker_process_init.connect
def prepare_child(**_: Any) -> None:
    """Load the champions, with the runtimes they need, before the child takes a batch."""
    with children.preparing():
        loaded = tasks.batch_runner().models.warm_champions()
    log.info("Ready with %s.", ", ".join(loaded) or "no model yet")
