"""The worker's heartbeat, given with every heartbeat of its main process."""

import logging
import os
import socket
from dataclasses import astuple
from functools import cache
from typing import Any

import redis
from celery.signals import heartbeat_sent

from messaging.settings import broker_settings
from messaging.worker_heartbeats import WorkerHeartbeat, announce, keras_version
from process.identity import machine_id, this_process
from process.limits import usable_cores
from storage.settings import storage_settings
from worker.celery import app
from worker.pool.children import children
from worker.pool.intake import intake

log = logging.getLogger(__name__)


@heartbeat_sent.connect
def send_heartbeat(sender: Any, **_: Any) -> None:
    """Tell Redis who works here. A Redis that does not answer costs the event loop 2 s at most."""
    if intake.children is None:
        return  # nothing is known yet
    try:
        announce(client(), describe(sender.eventer.hostname))
    except (redis.RedisError, OSError) as error:
        log.debug("No heartbeat was sent: %s", error)


def describe(worker: str) -> WorkerHeartbeat:
    """How the worker `worker` (a Celery node name) is now."""
    return WorkerHeartbeat(
        worker=worker,
        host=socket.gethostname(),
        machine=machine_id(),
        cpus=tuple(sorted(os.sched_getaffinity(0))),
        cores=usable_cores(),
        children=intake.children or app.conf.worker_concurrency,
        storage=str(storage_settings().root),
        storage_id=None if intake.storage.problem else intake.storage.id,
        problem=intake.problem or children.problem,
        keras=keras_version(),
        process=":".join(map(str, astuple(this_process()))),
    )


@cache
def client() -> "redis.Redis":
    """A client that gives up soon: the event loop waits for it."""
    return redis.Redis.from_url(broker_settings().url, socket_connect_timeout=1, socket_timeout=1)
