"""What a real worker does with its Redis and its messages when either is not as it should be."""

import base64
import json
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import count
from typing import Any

import pytest
from celery.contrib.testing.worker import start_worker
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.app import make_app
from messaging.messages import MESSAGES, PredictBatch
from messaging.settings import PREDICT_QUEUE, TRAIN_QUEUE, BrokerSettings
from tests.malformed import MALFORMED, Json, encoded
from tests.processes import RedisServer, wait_for

# Celery announces another default for what runs while a connection is lost.
pytestmark = pytest.mark.filterwarnings("ignore::celery.exceptions.CPendingDeprecationWarning")

PLACES = 2
"""So many messages may be in hand at once."""
GOOD = PredictBatch(job="job", batch=0)


class Consumer:
    """A worker of one queue that remembers what it has run."""

    def __init__(self, server: RedisServer, queue: str) -> None:
        self.redis = server.client()
        self.queue = queue
        self.ran: set[int] = set()
        self._numbers = count(1000)
        self.app = make_app("test", queues=[queue], settings=BrokerSettings(redis_url=server.url))

        self.gate = threading.Event()
        self.gate.set()
        self.began = 0

        @self.app.task(name=MESSAGES[queue].task, acks_late=queue == PREDICT_QUEUE, shared=False)
        def run(*_: Any, **fields: Any) -> None:
            self.began += 1
            self.gate.wait(20)
            self.ran.add(fields.get("batch", -1))

        GOOD.send(self.app)
        self._template: Json = json.loads(str(self.redis.lpop(PREDICT_QUEUE)))

    def good(self, number: int = 0) -> Json:
        """A message as one of our programs sends it."""
        message = deepcopy(self._template)
        message["headers"]["task"] = MESSAGES[self.queue].task
        message["properties"]["delivery_info"]["routing_key"] = self.queue
        message["properties"]["delivery_tag"] += str(number)
        message["body"] = encoded([[], {"job": "job", "batch": number}, {"callbacks": None}])
        return message

    def push(self, *messages: object) -> None:
        """Put messages on the queue, or bytes as they are."""
        raw = [m if isinstance(m, bytes) else json.dumps(m).encode() for m in messages]
        self.redis.lpush(self.queue, *raw)

    def assert_sound(self) -> None:
        """It takes more messages than it has places, and has none in hand when it has run them."""
        numbers = {next(self._numbers) for _ in range(PLACES + 1)}
        self.push(*map(self.good, numbers))
        wait_for(lambda: numbers <= self.ran, "good messages are run", 10)
        wait_for(lambda: not self.in_hand, "nothing is unacknowledged", 5)

    def hold(self, numbers: Iterable[int]) -> None:
        """Push good messages, and hold the first one that is run until the gate is opened."""
        self.gate.clear()
        began = self.began
        self.push(*map(self.good, numbers))
        wait_for(lambda: self.began > began, "one is run", 10)

    @contextmanager
    def refusing(self, setting: str, refusing: str, normal: str) -> Iterator[None]:
        """Let Redis refuse to write for as long as the block runs."""
        self.redis.config_set(setting, refusing)
        try:
            yield
        finally:
            self.redis.config_set(setting, normal)

    @property
    def in_hand(self) -> int:
        return self.redis.hlen("unacked.test") + self.redis.zcard("unacked.test.index")


@pytest.fixture(scope="module", params=[PREDICT_QUEUE, TRAIN_QUEUE])
def consumer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Consumer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    one = Consumer(server, request.param)
    with start_worker(
        one.app, pool="solo", concurrency=PLACES, perform_ping_check=False, shutdown_timeout=30
    ):
        one.assert_sound()
        yield one
    server.kill()


# Malformed messages


def test_no_malformed_message_is_run_or_kept_in_hand(consumer: Consumer) -> None:
    before = set(consumer.ran)
    for number, (name, spoil) in enumerate(MALFORMED.items()):
        message = consumer.good(number)
        spoil(message)
        consumer.push(*[message] * PLACES)
        try:
            consumer.assert_sound()
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None
    assert not {n for n in consumer.ran - before if n < len(MALFORMED)}


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xff\xfe", b"\x00", b"{}", b"[]", b"null", b'"predict"', b"1e999", b"[" * 100_000],
    ids=lambda raw: raw[:10],
)
def test_bytes_that_are_no_message_are_dropped(consumer: Consumer, raw: bytes) -> None:
    consumer.push(*[raw] * (PLACES + 1))
    consumer.assert_sound()


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["", "base64", "utf-8", "predict", "\ud800", "9999-12-31T00:00:00", 10**400])
    | st.builds(lambda t, v: {"__type__": t, "__value__": v}, st.text(max_size=3), st.integers()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def places(node: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every value in a message."""
    items: Any = ()
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


@settings(max_examples=60)
@given(data=st.data())
def test_after_any_mutated_messages_the_worker_takes_and_acknowledges_others(
    consumer: Consumer, data: st.DataObject
) -> None:
    for number in range(data.draw(st.integers(1, PLACES + 1))):
        message = consumer.good(number)
        message["body"] = json.loads(base64.b64decode(message["body"]))
        for _ in range(data.draw(st.integers(1, 2))):
            *way, last = data.draw(st.sampled_from(list(places(message))))
            node: Any = message
            for key in way:
                node = node[key]
            if data.draw(st.booleans()):
                node[last] = data.draw(ANYTHING)
            else:
                del node[last]
            if not isinstance(message.get("body"), list):
                break
        if isinstance(message.get("body"), list | dict):
            message["body"] = encoded(message["body"])
        consumer.push(message)
    consumer.assert_sound()


def test_a_strange_broadcast_does_not_end_a_worker(consumer: Consumer) -> None:
    for payload in ("{}", "[]", "1", "x", '{"properties": null}', '{"headers": 1}', "[" * 100_000):
        consumer.redis.publish("/0.celery.pidbox", payload)
    consumer.assert_sound()


# A Redis that refuses


def test_a_message_that_redis_does_not_let_a_worker_count_is_not_lost(
    consumer: Consumer, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis hands messages out when its memory is full, and then refuses to note who has them."""
    with consumer.redis.pipeline() as together:  # it is handed out after both
        together.lpush(consumer.queue, json.dumps(consumer.good(100)))
        together.config_set("maxmemory", "100kb")
        together.execute()
    wait_for(lambda: "is at its memory limit" in caplog.text, "it says why it waits", 10)
    wait_for(lambda: "Trying again" in caplog.text, "it waits", 10)
    assert 100 not in consumer.ran
    consumer.redis.config_set("maxmemory", "0")
    wait_for(lambda: 100 in consumer.ran, "it is run", 30)
    consumer.assert_sound()


def test_what_was_run_while_redis_refused_is_acknowledged_afterwards(consumer: Consumer) -> None:
    numbers = set(range(200, 200 + 2 * PLACES))
    consumer.hold(numbers)
    with consumer.refusing("min-replicas-to-write", "1", "0"):
        consumer.gate.set()
        wait_for(lambda: bool(numbers & consumer.ran), "one is done", 10)
        time.sleep(1)
    wait_for(lambda: numbers <= consumer.ran, "all are run", 30)
    consumer.assert_sound()


# A Redis that goes away


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
