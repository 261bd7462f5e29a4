"""A consumer that Redis lets connect, and then refuses what it asks for.

In a file of its own: no other consumer may run in this process, whose pauses these are.
"""

import time

import pytest
from celery.contrib.testing.worker import start_worker

from messaging.app import make_app
from messaging.messages import PredictBatch
from messaging.settings import PREDICT_QUEUE, BrokerSettings
from messaging.transport.backoff import backoff
from tests.processes import RedisServer, wait_for

pytestmark = pytest.mark.filterwarnings("ignore::celery.exceptions.CPendingDeprecationWarning")


@pytest.mark.parametrize("lost", ["~predict*", "~unacked*"])
def test_a_worker_that_loses_a_right_pauses_longer_and_longer_and_goes_on_when_it_has_it_again(
    own_redis: RedisServer, lost: str
) -> None:
    rights = ("~predict*", "~unacked*", "~batchsight:*", "~_kombu*", "~*pidbox*", "&*", "+@all")
    client = own_redis.client()

    def allow(*rights: str) -> None:
        client.execute_command("ACL", "SETUSER", "someone", "reset", "on", ">secret", *rights)

    allow(*rights)
    url = own_redis.url.replace("://", "://someone:secret@")
    app = make_app("test", queues=[PREDICT_QUEUE], settings=BrokerSettings(redis_url=url))
    ran: list[int] = []

    @app.task(name=PredictBatch.task, shared=False)
    def run(*, batch: int, **_: object) -> None:
        ran.append(batch)

    sender = make_app("sender", settings=BrokerSettings(redis_url=own_redis.url))
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=60):
        PredictBatch(job="job", batch=1).send(sender)
        wait_for(lambda: ran == [1], "it runs", 20)
        allow(*(right for right in rights if right != lost))
        connections = client.info("stats")["total_connections_received"]
        PredictBatch(job="job", batch=2).send(sender)
        time.sleep(6)
        made = client.info("stats")["total_connections_received"] - connections
        assert 1 < made < 30
        assert backoff.seconds >= 2
        allow(*rights)
        wait_for(lambda: ran == [1, 2], "it goes on", 40)
        wait_for(lambda: backoff.seconds == 0, "the next pause is short again", 20)
