"""The queue as the command line sees it: send a training, hear of it, see who works on it."""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from messaging.broker import broker_errors, connect, waiting_task_ids
from messaging.messages import TrainModel
from messaging.notifications import Notifications
from messaging.refusals import probe
from messaging.settings import TRAIN_QUEUE, BrokerSettings

if TYPE_CHECKING:
    import redis
    from celery import Celery

INSPECT_SECONDS = 2.0


class TrainQueue(Protocol):
    """What sending and following a training need. Every method raises `BrokerUnavailable`."""

    def send(self, message: TrainModel) -> None:
        """Put the message on the queue."""

    def listen(self, run: str) -> Iterator[list[dict[str, Any]]]:
        """Yield the notifications of a training, an empty list after some time of quiet.

        Another call goes on after what was heard before.
        """

    def is_waiting(self, run: str) -> bool:
        """Whether the training waits in the queue, taken by no trainer yet."""

    def is_running(self, run: str) -> bool:
        """Whether a trainer has it. May take seconds."""

    def has_trainer(self) -> bool:
        """Whether any trainer worker answers. May take seconds."""


class RedisTrainQueue:
    """The queue in Redis. Connects when first used."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._notifications: dict[str, Notifications] = {}

    def send(self, message: TrainModel) -> None:
        """Put the message on the queue, once Redis takes messages."""
        with broker_errors(self._settings):
            probe(self._client)
            message.send(self._app)

    def listen(self, run: str) -> Iterator[list[dict[str, Any]]]:
        """Hear the training's notifications, from the first one on."""
        notifications = self._notifications.setdefault(run, Notifications(self._client, run))
        with broker_errors(self._settings):
            yield from notifications.listen(wait_seconds=1.0)

    def is_waiting(self, run: str) -> bool:
        with broker_errors(self._settings):
            return run in waiting_task_ids(self._client, TRAIN_QUEUE)

    def is_running(self, run: str) -> bool:
        """Ask all trainers what they have in hand."""
        with broker_errors(self._settings):
            probe(self._client)  # while it refuses, its trainers answer nobody
            inspect = self._app.control.inspect(timeout=INSPECT_SECONDS)
            answers = [inspect.active() or {}, inspect.reserved() or {}]
        return any(
            task["id"] == run for answer in answers for tasks in answer.values() for task in tasks
        )

    def has_trainer(self) -> bool:
        """Ask all workers which queues they consume."""
        with broker_errors(self._settings):
            answers = self._app.control.inspect(timeout=INSPECT_SECONDS).active_queues() or {}
        return any(queue["name"] == TRAIN_QUEUE for queues in answers.values() for queue in queues)

    @cached_property
    def _client(self) -> "redis.Redis":
        return connect(self._settings)

    @cached_property
    def _app(self) -> "Celery":
        from messaging.app import make_app

        return make_app("trainer", settings=self._settings)
