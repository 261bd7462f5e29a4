"""The worker's sign of life, given with every heartbeat of its main process."""

import logging
import os
import socket
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import redis
from celery.signals import heartbeat_sent

from messaging.presence import Presence, announce
from messaging.settings import broker_settings
from storage.errors import StorageError
from storage.identity import storage_id
from storage.settings import storage_settings
from worker.celery import app, threads_per_child

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

log = logging.getLogger(__name__)


@heartbeat_sent.connect
def give_sign(sender: Any, **_: Any) -> None:
    """Tell Redis who works here. A Redis that does not answer costs the event loop 2 s at most."""
    try:
        announce(client(), describe(sender.eventer.hostname))
    except (redis.RedisError, OSError) as error:
        log.debug("No sign of life was given: %s", error)


@cache
def describe(worker: str) -> Presence:
    """What does not change while the worker `worker` (a Celery node name) lives."""
    cpus = sorted(os.sched_getaffinity(0))
    root = storage_settings().root
    identity = None
    try:
        identity = storage_id(root)
    except StorageError as error:
        log.warning("%s", error)
    return Presence(
        worker=worker,
        host=socket.gethostname(),
        machine=machine_id(),
        cpus=tuple(cpus),
        children=app.conf.worker_concurrency or len(cpus),
        threads=threads_per_child(),
        storage=str(root),
        storage_id=identity,
        keras=keras_version(),
    )


@cache
def client() -> "redis.Redis":
    """A client that gives up soon: the event loop waits for it."""
    return redis.Redis.from_url(broker_settings().url, socket_connect_timeout=1, socket_timeout=1)


def machine_id() -> str:
    """Names the running kernel, or the host where there is no such name."""
    try:
        return BOOT_ID.read_text("ascii").strip()
    except OSError:
        return socket.gethostname()


def keras_version() -> str | None:
    """The installed Keras, found without importing it."""
    try:
        return version("keras")
    except PackageNotFoundError:
        return None
