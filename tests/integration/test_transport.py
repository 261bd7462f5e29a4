"""What Celery does with its connection when Redis goes away, step by step."""

import pytest

from messaging.app import make_app
from messaging.messages import PredictBatch
from messaging.settings import PREDICT_QUEUE, BrokerSettings
from tests.processes import RedisServer


def test_a_lost_connection_with_a_message_in_hand_closes_without_an_error(
    own_redis: RedisServer,
) -> None:
    """While it waits for the next one: kombu's own channel raises, which ends the worker."""
    app = make_app("test", queues=[PREDICT_QUEUE], settings=BrokerSettings(redis_url=own_redis.url))
    PredictBatch(job="job", batch=0).send(app)
    connection = app.connection_for_read()
    received: list[object] = []
    tasks = app.amqp.TaskConsumer(
        connection.default_channel, on_message=received.append, accept=["json"]
    )
    tasks.consume()
    commands = app.control.mailbox.Node("worker@here", channel=connection.channel())
    commands.listen()
    with pytest.raises(TimeoutError):
        while True:
            connection.drain_events(timeout=0.3)
    assert len(received) == 1
    own_redis.kill()
    connection.collect()
    connection.close()
    assert not connection.connected
