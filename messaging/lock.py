"""A lock over all machines, with a fencing token: who got it later has the higher number.

The lock alone is not enough. A holder that was paused beyond its time goes on as if it still held
it; what it then publishes is told by its lower fencing token (see `ModelStore.promote`).
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

import redis
from redis.exceptions import LockError

from messaging.refusals import explain

HELD_SECONDS = 60.0
RETRY_SECONDS = 1.0

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)


@contextmanager
def hold_lock(
    client: "redis.Redis", name: str, *, seconds: float = HELD_SECONDS
) -> Iterator[int | None]:
    """Hold the lock `name` for as long as the block runs; yields the fencing token.

    Waits for a Redis that is away or refuses. Yields `None` at once when somebody else holds the
    lock. The lock is renewed in the background and frees itself `seconds` after its holder has
    died. The fencing token is the broker's clock in microseconds: it grows even when Redis was
    started again empty.
    """
    lock = client.lock(f"batchsight:lock:{name}", timeout=seconds, thread_local=False)
    if not insist(partial(lock.acquire, blocking=False)):
        yield None
        return
    released = threading.Event()

    def renew() -> None:
        while not released.wait(seconds / 3):
            with suppress(redis.RedisError, LockError):
                lock.reacquire()

    thread = threading.Thread(target=renew, name=f"lock-{name}", daemon=True)
    thread.start()
    try:
        now, microseconds = insist(client.time)
        yield now * 1_000_000 + microseconds
    finally:
        released.set()
        thread.join()
        with suppress(redis.RedisError, LockError):
            lock.release()


def insist(ask: Callable[[], Answer]) -> Answer:
    """The answer to a question, put again until Redis is there and does not refuse."""
    told = False
    while True:
        try:
            return ask()
        except (redis.RedisError, OSError) as error:
            if not told:
                log.warning("%s", explain(error) or f"Redis does not answer ({error}).")
            told = True
            time.sleep(RETRY_SECONDS)
