"""A queue without Redis, and a worker without TensorFlow that serves it at once."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from evaluation.ranking import Ranking
from messaging.errors import BrokerUnavailable
from messaging.messages import PredictBatch
from storage.jobs.job import Job
from storage.jobs.results import BatchResult
from storage.jobs.store import JobStore
from storage.models.store import ModelPin
from tests.builders import ranking_of

AWAY = "No Redis answers at redis://nowhere:6379/0 (gone): start it, or set BATCHSIGHT_REDIS_URL."


@dataclass
class FakeQueue:
    """Remembers what was sent; `serve` is called with every message that arrives."""

    serve: Callable[[PredictBatch], None] = lambda message: None
    available: bool = True
    refusals: int = 0
    """So many times nothing can be sent, though somebody answers."""
    hands: set[str] | None = field(default_factory=set)
    """Keys of the batches that its workers have taken; None without workers."""
    problems: dict[str, str] = field(default_factory=dict)
    """Why workers cannot work, by their names."""
    notifications: bool = False
    """Whether it is heard of progress all the time."""
    sent: list[PredictBatch] = field(default_factory=list)
    waits: set[str] = field(default_factory=set)
    speed: float | None = None
    """Images per second that a worker has measured."""

    def check(self) -> None:
        if not self.available:
            raise BrokerUnavailable(AWAY)

    def probe(self) -> None:
        self.check()
        if self.refusals:
            raise BrokerUnavailable("Redis at redis://full:6379/0 is at its memory limit.")

    def send(self, messages: Sequence[PredictBatch]) -> None:
        self.check()
        if self.refusals:
            self.refusals -= 1
            raise BrokerUnavailable("Redis at redis://full:6379/0 is at its memory limit.")
        for message in messages:
            self.sent.append(message)
            self.serve(message)

    def waiting(self) -> set[str]:
        self.check()
        return self.waits

    def listen(self, job_id: str, wait_seconds: float) -> Iterator[bool]:
        while True:
            self.check()
            if not self.notifications:
                time.sleep(0.001)
            yield self.notifications

    def in_hand(self, queue: str) -> set[str] | None:
        self.check()
        return self.hands

    def obstacles(self) -> dict[str, str]:
        self.check()
        return self.problems

    def measured_speed(self, model: ModelPin) -> float | None:
        self.check()
        return self.speed

    @property
    def batches(self) -> list[int]:
        return [message.batch for message in self.sent]


@dataclass
class FakeWorker:
    """Answers a batch and those that follow it: image `i` of a job is of class `i` modulo all.

    `errors` are reasons by the position of an image in its job.
    """

    jobs: JobStore
    errors: Mapping[int, str] = field(default_factory=dict)
    reused: int | None = None
    """Images of each batch that it says were not computed."""

    def __call__(self, message: PredictBatch) -> None:
        job = self.jobs.get(message.job)
        batch: int | None = message.batch
        while batch is not None and not self.jobs.of(job).stopped():
            self.jobs.of(job).results.write(batch, self.result(job, batch))
            batch = self.jobs.of(job).chains.successor(batch)

    def result(self, job: Job, batch: int) -> BatchResult:
        span = job.span(batch)
        positions = np.arange(span.start, span.stop)
        failed = np.isin(positions, list(self.errors))
        scores = (0.5 + (positions % 50) / 100).astype(np.float32)
        ranking = ranking_of(positions % len(job.labels), scores)
        if job.depth > 1:
            probabilities = np.outer(1 - scores, np.ones(len(job.labels))) / len(job.labels)
            np.put_along_axis(probabilities, ranking.classes, ranking.scores, axis=1)
            ranking = Ranking.of(probabilities.astype(np.float32), job.depth)
        for position in np.flatnonzero(failed).tolist():
            ranking.fail(position)
        return BatchResult(
            model=job.model,
            ranking=ranking,
            errors={i: self.errors[p] for i, p in enumerate(span) if p in self.errors},
            reused=self.reused,
        )
