"""The lock over all machines, on a real Redis."""

import time

from messaging.lock import hold_lock
from tests.processes import RedisServer


def test_a_lock_outlasts_its_time_while_its_holder_works(redis_server: RedisServer) -> None:
    client = redis_server.client()
    with hold_lock(client, "renewed", seconds=0.6) as fencing_token:
        assert fencing_token is not None
        for _ in range(10):
            time.sleep(0.2)
            with hold_lock(client, "renewed") as other:
                assert other is None


def test_a_later_holder_has_a_higher_fence(redis_server: RedisServer) -> None:
    client = redis_server.client()
    with hold_lock(client, "fenced") as first:
        pass
    with hold_lock(client, "fenced") as second:
        assert first is not None
        assert second is not None
        assert second > first


def test_the_lock_of_a_dead_holder_frees_itself(redis_server: RedisServer) -> None:
    client = redis_server.client()
    client.set("batchsight:lock:orphan", "somebody who died", px=300)
    with hold_lock(client, "orphan") as held:
        assert held is None
    time.sleep(0.4)
    with hold_lock(client, "orphan") as held:
        assert held is not None
