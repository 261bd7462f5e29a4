"""A lock over all machines, with a fence: who got it later has the higher number.

The lock alone is not enough. A holder that was paused beyond its time goes on as if it still held
it; what it then publishes is told by its lower fence (see `ModelStore.promote`).
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis
from redis.exceptions import LockError

HELD_SECONDS = 60.0


@contextmanager
def hold_lock(
    client: "redis.Redis", name: str, *, seconds: float = HELD_SECONDS
) -> Iterator[int | None]:
    """Hold the lock `name` for as long as the block runs; yields the fence.

    Yields `None` at once when somebody else holds it. The lock is renewed in the background and
    frees itself `seconds` after its holder has died. The fence is the broker's clock in
    microseconds: it grows even when Redis was started again empty.
    """
    lock = client.lock(f"batchsight:lock:{name}", timeout=seconds, thread_local=False)
    if not lock.acquire(blocking=False):
        yield None
        return
    now, microseconds = client.time()
    released = threading.Event()

    def renew() -> None:
        while not released.wait(seconds / 3):
            with suppress(redis.RedisError, LockError):
                lock.reacquire()

    thread = threading.Thread(target=renew, name=f"lock-{name}", daemon=True)
    thread.start()
    try:
        yield now * 1_000_000 + microseconds
    finally:
        released.set()
        thread.join()
        with suppress(redis.RedisError, LockError):
            lock.release()
