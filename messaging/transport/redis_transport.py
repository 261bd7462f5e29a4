"""The Redis transport of kombu, hardened: no malformed message and no Redis ends or hangs a worker.

With kombu's own, anything on a queue that is not of the expected form ends the worker, or keeps its
place among the messages in hand for good; and a Redis that goes away, or refuses to write, at the
wrong moment ends it as well.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, ClassVar

import redis
from kombu.exceptions import OperationalError
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.json import dumps

from messaging.messages import MESSAGES
from messaging.refusals import Refused, explain, probe
from messaging.transport.backoff import backoff
from messaging.transport.envelope import check_envelope

log = logging.getLogger(__name__)

LISTENS = "listens"
"""Option of a program that takes messages: it hears and sends broadcasts as well."""
BROADCASTS = ("celery.pidbox", "reply.celery.pidbox", "celeryev/worker.heartbeat")

BROKER_ERRORS = (redis.RedisError, OSError)


class Message(virtual.Message):
    """A message of which Celery does not merely log that Redis does not let it be acknowledged.

    It would hold its place among the messages in hand for good.
    """

    def ack_log_error(self, logger: object, errors: object, multiple: bool = False) -> None:
        """Acknowledge it; raises what Redis says."""
        self.ack(multiple)

    def reject_log_error(self, logger: object, errors: object, requeue: bool = False) -> None:
        """Reject it; raises what Redis says."""
        self.reject(requeue)


class QoS(kombu_redis.QoS):
    """Counts the messages in hand, and loses none that Redis does not let it count."""

    def append(self, message: virtual.Message, delivery_tag: str) -> None:
        """Count a message as in hand. It has left its queue by now."""
        try:
            super().append(message, delivery_tag)
        except BROKER_ERRORS:
            Owed.messages.append((message.delivery_info["routing_key"], message._raw))
            raise

    def restore_visible(self, *arguments: Any, **options: Any) -> None:
        """Called every few seconds."""
        Owed.pay(self)
        super().restore_visible(*arguments, **options)


class Owed:
    """What this process has still to tell Redis, which refused it or was away."""

    messages: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    """To be put back: queues, and what was taken from them and could not be counted as in hand."""
    tags: ClassVar[list[tuple[str, bool]]] = []
    """To be acknowledged; or, if true, put back."""

    @classmethod
    def pay(cls, qos: QoS) -> None:
        """Tell it now; raises `redis.RedisError`."""
        with qos.channel.conn_or_acquire() as client:
            while cls.messages:
                queue, raw = cls.messages[-1]
                client.rpush(queue, dumps(raw))
                cls.messages.pop()
            while cls.tags:
                tag, requeue = cls.tags[0]
                if requeue:
                    qos.restore_by_tag(tag, client, leftmost=True)
                else:
                    qos._remove_from_indices(tag).execute()
                cls.tags.pop(0)

    @classmethod
    def forget(cls) -> None:
        """For a child: what its parent owes is not its own."""
        cls.messages.clear()
        cls.tags.clear()


os.register_at_fork(after_in_child=Owed.forget)


class Channel(kombu_redis.Channel):
    """Reads messages as kombu does, but survives what it cannot read."""

    Message = Message
    QoS = QoS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Connect; a Redis that answers and refuses to write counts as one that is not there."""
        super().__init__(*arguments, **options)
        try:
            with refusals_as_lost_connections(), self.conn_or_acquire() as client:
                probe(client)
                if self.connection.client.transport_options.get(LISTENS):
                    for exchange in BROADCASTS:
                        client.publish(self.keyprefix_fanout + exchange, "")  # nobody hears that
                Owed.pay(self.qos)
        except BROKER_ERRORS:
            self.close()
            raise

    def basic_consume(
        self,
        queue: str,
        no_ack: bool,
        callback: Callable[[Any], object],
        *arguments: Any,
        **options: Any,
    ) -> Any:
        """Consume, and take no message for done or in hand that the consumer stumbled over."""

        def stumble_safely(message: Any) -> None:
            try:
                callback(message)
            except BROKER_ERRORS:
                raise
            except Exception:
                if not no_ack and not message.acknowledged:
                    message.reject()
                raise

        return super().basic_consume(queue, no_ack, stumble_safely, *arguments, **options)

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Acknowledge a message, later if need be; then it raises what Redis says."""
        tell = partial(super().basic_ack, delivery_tag, multiple)
        self._tell_or_owe(tell, delivery_tag, requeue=False)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Drop a message or put it back, later if need be; then it raises what Redis says."""
        tell = partial(super().basic_reject, delivery_tag, requeue)
        self._tell_or_owe(tell, delivery_tag, requeue=requeue)

    def _tell_or_owe(self, tell: Callable[[], object], tag: str, *, requeue: bool) -> None:
        if self.closed:
            Owed.tags.append((tag, requeue))
            return
        try:
            with refusals_as_lost_connections():
                tell()
        except BROKER_ERRORS:
            Owed.tags.append((tag, requeue))
            raise

    def _brpop_read(self, **options: Any) -> Any:
        with backoff.consuming(), refusals_as_lost_connections(), malformed_messages_dropped():
            return super()._brpop_read(**options)
        return True

    def _receive(self) -> Any:
        with refusals_as_lost_connections(), malformed_messages_dropped():
            return super()._receive()
        return True

    def close(self) -> None:
        """Close at the first call, whatever of Redis is gone.

        kombu's own gives up at the first answer that does not come, and leaves the channel open.
        Celery closes twice, the second time without a connection: giving back the messages in
        hand then raises an `AttributeError`, which ends the worker.
        """
        try:
            super().close()
        except BROKER_ERRORS:
            self.auto_delete_queues.clear()  # not to be deleted without Redis
            with suppress(*BROKER_ERRORS):
                super().close()
            self.qos._flush()
            Owed.tags.extend((tag, True) for tag in self.qos._delivered)


class Transport(kombu_redis.Transport):
    Channel = Channel
    connection_errors = (
        *kombu_redis.Transport.connection_errors,
        redis.ResponseError,
        OperationalError,  # what kombu makes of these when it sends
    )

    def _deliver(self, message: Any, queue: str) -> None:
        if queue in MESSAGES:
            check_envelope(message, queue)
        super()._deliver(message, queue)


@contextmanager
def refusals_as_lost_connections() -> Iterator[None]:
    """Raise what Redis refuses as `Refused`: Celery then waits, says why and tries again."""
    try:
        yield
    except redis.ResponseError as error:
        raise Refused((explain(error) or str(error)).rstrip(".")) from error  # Celery adds one


@contextmanager
def malformed_messages_dropped() -> Iterator[None]:
    """Say what is wrong with a message that cannot be read, and go on to the next one."""
    try:
        yield
    except (virtual.Empty, *BROKER_ERRORS):
        raise
    except Exception as error:
        log.warning("A malformed message was dropped: %s", error or type(error).__name__)
