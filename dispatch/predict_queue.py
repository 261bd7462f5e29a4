"""The queue as a producer sees it: it sends batches, looks what waits, and hears of progress."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from messaging.messages import PredictBatch, key_of
from messaging.settings import PREDICT_QUEUES, BrokerSettings
from storage.models.store import ModelPin

if TYPE_CHECKING:
    import redis
    from celery import Celery


class PredictQueue(Protocol):
    """What following a job needs of the queue. Every method raises `BrokerUnavailable`."""

    def check(self) -> None:
        """Make sure that somebody is there to take messages."""
        ...

    def probe(self) -> None:
        """Make sure that messages are taken, before anything is done that needs it."""
        ...

    def send(self, messages: Sequence[PredictBatch]) -> None:
        """Put messages on their queues."""
        ...

    def waiting(self) -> set[str]:
        """Keys of the batches that wait in a queue, taken by no worker yet."""
        ...

    def listen(self, job_id: str, wait_seconds: float) -> Iterator[bool]:
        """Say True whenever something was done for a job, False after some time of quiet."""
        ...

    def in_hand(self, queue: str) -> set[str] | None:
        """Keys of the batches that those have taken who listen on a queue; None without any.

        May take two seconds.
        """
        ...

    def obstacles(self) -> dict[str, str]:
        """Why workers that are there cannot work, by their names, as they say themselves."""
        ...

    def measured_speed(self, model: ModelPin) -> float | None:
        """Images per second of a child, as a worker has measured them last; none if none has."""
        ...


class RedisQueue:
    """The queue in Redis. Connects when first used; `celery` is imported when first sending."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings

    def check(self) -> None:
        """Ask Redis whether it is there."""
        from messaging.broker import broker_errors

        with broker_errors(self._settings):
            self._client.ping()

    def probe(self) -> None:
        """Let Redis refuse now what it would refuse later."""
        from messaging.broker import broker_errors
        from messaging.refusals import probe

        with broker_errors(self._settings):
            probe(self._client)

    def send(self, messages: Sequence[PredictBatch]) -> None:
        """Put messages on their queues over one connection."""
        from messaging.broker import broker_errors

        with broker_errors(self._settings), self._app.producer_or_acquire() as producer:
            for message in messages:
                message.send(self._app, producer=producer)

    def waiting(self) -> set[str]:
        """Keys of the batches that wait in a queue."""
        from messaging.broker import broker_errors, waiting_task_ids

        with broker_errors(self._settings):
            task_ids = waiting_task_ids(self._client, *PREDICT_QUEUES)
        return set(map(key_of, task_ids))

    def listen(self, job_id: str, wait_seconds: float) -> Iterator[bool]:
        """Hear the job's notifications, from the first one on."""
        from messaging.broker import broker_errors
        from messaging.notifications import Notifications

        with broker_errors(self._settings):
            for heard in Notifications(self._client, job_id).listen(wait_seconds=wait_seconds):
                yield bool(heard)

    def in_hand(self, queue: str) -> set[str] | None:
        """Ask all workers which queues they consume, and those of this one what they run."""
        from messaging.broker import broker_errors

        with broker_errors(self._settings):
            queues = self._app.control.inspect(timeout=1.0).active_queues() or {}
            names = [n for n, qs in queues.items() if any(q["name"] == queue for q in qs)]
            if not names:
                return None
            running = self._app.control.inspect(destination=names, timeout=1.0).active() or {}
        return {key_of(task["id"]) for tasks in running.values() for task in tasks}

    def obstacles(self) -> dict[str, str]:
        from messaging.broker import broker_errors
        from messaging.worker_heartbeats import living_workers

        with broker_errors(self._settings):
            present = living_workers(self._client)
        return {name: sign.problem for name, sign in present.items() if sign.problem}

    def measured_speed(self, model: ModelPin) -> float | None:
        from messaging.broker import broker_errors
        from messaging.measured_speeds import MeasuredSpeeds

        with broker_errors(self._settings):
            return MeasuredSpeeds(self._client).of(model.sha256)

    @cached_property
    def _client(self) -> "redis.Redis":
        from messaging.broker import connect

        return connect(self._settings)

    @cached_property
    def _app(self) -> "Celery":
        from messaging.app import make_app

        return make_app("producer", settings=self._settings)
