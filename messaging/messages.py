"""The messages that go over the queue. Each type owns its own wire form.

A message names things on shared storage; it never carries them. All are below one kilobyte.
"""

import time
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from messaging.errors import BadMessage
from messaging.settings import (
    PREDICT_QUEUE,
    PREDICT_QUEUES,
    SWEEP_QUEUE,
    TENSORFLOW_QUEUE,
    TRAIN_QUEUE,
)

if TYPE_CHECKING:
    from celery import Celery

SENT_AT = "batchsight_sent_at"
"""Header with the time of sending, seconds since 1970: how long a message has waited."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Version = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(@[0-9]{1,9})?$")]
"""A name, or one version of what it names: `mnist`, `mnist@2`."""


class Message(BaseModel):
    """What all messages share: strict fields, keyword arguments of a Celery task on the wire."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    task: ClassVar[str]
    queues: ClassVar[tuple[str, ...]]
    """Where messages of this kind wait."""

    @property
    def queue(self) -> str:
        """Where this one waits."""
        return self.queues[0]

    @classmethod
    def from_wire(cls, fields: dict[str, Any]) -> Self:
        """Validate what came over the queue; raises `BadMessage`."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            problems = "; ".join(brief(e["loc"], e["msg"]) for e in error.errors()[:5])
            raise BadMessage(f"A {cls.task} message was dropped: {problems}.") from None

    def task_id(self) -> str:
        """A new id for the Celery task."""
        return uuid4().hex

    def readable(self) -> str:
        """The message as people read it in Flower."""
        return ", ".join(f"{name}={value}" for name, value in self if value is not None)

    def send(self, app: "Celery", **options: Any) -> str:
        """Put the message on its queue and return the task id."""
        task_id = self.task_id()
        app.send_task(
            self.task,
            kwargs=self.model_dump(mode="json"),
            queue=self.queue,
            task_id=task_id,
            argsrepr="",
            kwargsrepr=self.readable(),
            headers={SENT_AT: round(time.time(), 3)},
            # A sender that knows the task would add its limits; whoever runs it has them anyway.
            time_limit=None,
            soft_time_limit=None,
            **options,
        )
        return task_id


class PredictBatch(Message):
    task = "worker.predict"
    queues = PREDICT_QUEUES

    job: Name
    batch: int = Field(ge=0, le=1_000_000_000)
    runtime: Literal["onnx", "tensorflow"] = "onnx"
    """What the job is pinned to; earlier versions did not say, and used one queue."""

    @property
    def queue(self) -> str:
        """Where workers listen that have the runtime."""
        return TENSORFLOW_QUEUE if self.runtime == "tensorflow" else PREDICT_QUEUE

    def task_id(self) -> str:
        """Begins with `key`, so that a waiting message can be recognised in the queue."""
        return f"{self.key}.{uuid4().hex[:8]}"

    @property
    def key(self) -> str:
        return f"{self.job}.{self.batch}"

    def readable(self) -> str:
        """Job and batch; people count from one."""
        return f"job {self.job}, batch {self.batch + 1}"


def key_of(task_id: str) -> str:
    """The key of the batch that a task with this id asks for."""
    return task_id.rpartition(".")[0]


def job_of(key: str) -> str:
    """The job of the batch with this key."""
    return key.rpartition(".")[0]


class Sweep(Message):
    """Look for jobs that stand still and send their missing batches again."""

    task = "worker.sweep"
    queues = (SWEEP_QUEUE,)


class TrainModel(Message):
    """Train a network on a data set and publish it."""

    task = "trainer.train"
    queues = (TRAIN_QUEUE,)

    dataset: Version
    network: Name
    preset: Name = "default"
    name: Name
    epochs: int | None = Field(ge=1, le=100_000)
    """None is for what the preset says for as many images as there are by then."""
    batch_size: int | None = Field(ge=1, le=100_000)
    """The same."""
    augment: bool = False
    parent: Version | None = None
    """The model version to start from."""
    weights: Literal["imagenet", "none"] | None = None
    seed: int = Field(ge=0, le=2**32 - 1)
    scheduled: bool = False
    asked_at: float | None = Field(default=None, ge=0, le=1e11)
    """When the schedule asked for it, seconds since 1970."""
    run: Name
    """Names this training: its notifications go by this name."""

    def task_id(self) -> str:
        """The run's name: one training, one task."""
        return self.run

    def readable(self) -> str:
        """What is trained on what."""
        name = f" as {self.name}" if self.name != self.dataset else ""
        by = ", by schedule" if self.scheduled else ""
        epochs = ""
        if self.epochs:
            epochs = ", 1 epoch" if self.epochs == 1 else f", {self.epochs} epochs"
        preset = f" ({self.preset})" if self.preset != "default" else ""
        parent = f" from {self.parent}" if self.parent else ""
        return f"{self.network}{preset}{parent} on {self.dataset}{name}{epochs}{by}"


MESSAGES: dict[str, type[Message]] = {
    queue: kind for kind in (PredictBatch, Sweep, TrainModel) for queue in kind.queues
}
"""The one kind of message that each queue carries."""


def brief(place: tuple[int | str, ...], problem: str) -> str:
    """A problem on one line; the name of an unknown field is a stranger's text."""
    field = ascii(".".join(map(str, place)))[1:-1]
    return f"{field[:50] or 'message'}: {problem}"
