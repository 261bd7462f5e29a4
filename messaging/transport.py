"""The Redis transport of kombu, hardened: no malformed message and no lost Redis ends a worker.

With kombu's own, anything on a queue that is not JSON of the expected form ends the worker, and
the next one, and so on; and so does a Redis that goes away at the wrong moment.
"""

import logging
from contextlib import suppress
from typing import Any

from kombu.transport import redis, virtual

log = logging.getLogger(__name__)


class Message(virtual.Message):
    """A message whose envelope has the right form; raises `ValueError` otherwise."""

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        headers = payload["headers"]
        if not isinstance(headers, dict) or not isinstance(payload["properties"], dict):
            raise ValueError("headers and properties must be objects")
        super().__init__(payload, channel=channel, **options)


class Channel(redis.Channel):
    """Reads messages as kombu does, but survives what it cannot read."""

    Message = Message

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            log.warning("A malformed message was dropped: %s: %s", type(error).__name__, error)
            return True

    def close(self) -> None:
        """Close at the first call, whatever of Redis is gone.

        kombu's own gives up at the first answer that does not come, and leaves the channel open.
        Celery closes twice, the second time without a connection: giving back the messages in
        hand then raises an `AttributeError`, which ends the worker.
        """
        refusals = (*self.connection_errors, self.ResponseError)
        try:
            super().close()
        except refusals:
            self.auto_delete_queues.clear()  # not to be deleted without Redis
            with suppress(*refusals):
                super().close()


class Transport(redis.Transport):
    """What `broker_transport` names."""

    Channel = Channel
