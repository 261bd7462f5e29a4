"""Heartbeat of each running beat, so that a second one is found.

Nothing in Celery stops two beats, and each sends every scheduled message.
"""

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import redis

from messaging.broker import connect
from messaging.settings import broker_settings

SIGN_SECONDS = 2.0
KEPT_SECONDS = 10
PREFIX = "batchsight:beat:"

log = logging.getLogger(__name__)


def begin(**_: Any) -> None:
    """Send heartbeats for as long as this process lives."""
    threading.Thread(target=_live, args=(connect(broker_settings()),), daemon=True).start()


def send_heartbeat(client: "redis.Redis", name: str, number: int) -> None:
    """Say that the beat `name` lives; a higher number every time. Raises `redis.RedisError`."""
    client.set(PREFIX + name, number, ex=KEPT_SECONDS)


def living_beats(
    client: "redis.Redis", sleep: Callable[[float], object] = time.sleep
) -> tuple[str, ...]:
    """Names of the running beats, `host:pid:random`; raises `redis.RedisError`.

    Two signs may be those of a beat and its successor, so then it waits for both to repeat.
    """
    signs = _read_heartbeats(client)
    if len(signs) > 1:
        sleep(2 * SIGN_SECONDS)
        later = _read_heartbeats(client)
        signs = {name: later[name] for name in signs if later.get(name, signs[name]) != signs[name]}
    return tuple(sorted(signs))


def _read_heartbeats(client: "redis.Redis") -> dict[str, str]:
    keys = list(client.scan_iter(match=PREFIX + "*", count=1000))
    signs = ((key.removeprefix(PREFIX), client.get(key)) for key in keys)
    return {name: str(sign) for name, sign in signs if sign is not None}


def _live(client: "redis.Redis") -> None:
    name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"
    number = 0
    while True:
        number += 1
        try:
            send_heartbeat(client, name, number)
        except (redis.RedisError, OSError) as error:
            log.debug("No heartbeat was sent: %s", error)
        time.sleep(SIGN_SECONDS)
