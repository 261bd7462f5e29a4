"""A consumer that Redis lets connect, and then refuses what it asks for.

In a file of its own: no other consumer may run in this process, whose pauses these are.
"""

import time
from itertools import pairwise

import pytest
from celery.contrib.testing.worker import start_worker

from messaging.app import make_app
from messaging.messages import PredictBatch
from messaging.settings import PREDICT_QUEUE, BrokerSettings
from messaging.transport.backoff import backoff
from tests.processes import RedisServer, wait_for

pytestmark = pytest.mark.filterwarnings("ignore::celery.exceptions.CPendingDeprecationWarning")


def pauses_between_connections(redis: RedisServer, count: int) -> list[float]:
    """The next pauses in which nobody connects, of those of some length."""
    client = redis.client()
    made, since, pauses = 0, time.monotonic(), list[float]()

    def another_pause_has_ended() -> bool:
        nonlocal made, since
        connections = client.info("stats")["total_connections_received"]
        if connections != made:
            now = time.monotonic()
            assert connections - made < 12 or not made, "connections are made without a pause"
            if made and now - since > 1.5:
                pauses.append(now - since)
            made, since = connections, now
        return len(pauses) >= count

    wait_for(another_pause_has_ended, f"{count} pauses", 60)
    return pauses


@pytest.mark.parametrize(
    ("lost", "owing"), [("~predict*", False), ("~unacked*", False), ("~unacked*", True)]
)
def test_a_worker_that_loses_a_right_pauses_longer_and_longer_and_goes_on_when_it_has_it_again(
    own_redis: RedisServer, lost: str, owing: bool
) -> None:
    """One that owes Redis an acknowledgement cannot even connect: then the pauses are Celery's."""
    rights = ("~predict*", "~unacked*", "~batchsight:*", "~_kombu*", "~*pidbox*", "&*", "+@all")
    client = own_redis.client()

    def allow(*rights: str) -> None:
        client.execute_command("ACL", "SETUSER", "someone", "reset", "on", ">secret", *rights)

    def take_away() -> None:
        allow(*(right for right in rights if right != lost))

    allow(*rights)
    url = own_redis.url.replace("://", "://someone:secret@")
    app = make_app("test", queues=[PREDICT_QUEUE], settings=BrokerSettings(redis_url=url))
    ran: list[int] = []

    @app.task(name=PredictBatch.task, shared=False, acks_late=True)
    def run(*, batch: int, **_: object) -> None:
        if owing:
            take_away()
        ran.append(batch)

    sender = make_app("sender", settings=BrokerSettings(redis_url=own_redis.url))
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=60):
        PredictBatch(job="job", batch=1).send(sender)
        wait_for(lambda: ran == [1], "it runs", 20)
        if not owing:
            wait_for(lambda: client.hlen("unacked.test") == 0, "it is acknowledged", 20)
            take_away()
        PredictBatch(job="job", batch=2).send(sender)
        pauses = pauses_between_connections(own_redis, 2)
        assert all(longer > pause for pause, longer in pairwise(pauses)), pauses
        owing = False
        allow(*rights)
        wait_for(lambda: ran == [1, 2], "it goes on", 40)
        wait_for(lambda: backoff.seconds == 0, "the next pause is short again", 20)
