"""The wrong predictions that the model was surest of."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from producer.results.finished_batches import FinishedBatch
from storage.jobs.job import Job

MISTAKES_SHOWN = 24
MOST_RUNNERS_UP = 4


@dataclass(frozen=True, kw_only=True, order=True)
class Mistake:
    """One wrong prediction. Sorts by score, and among equal ones the later image comes first."""

    score: float
    later: int
    """Minus its position in the job."""
    predicted: int
    actual: int
    image_id: str = field(compare=False)
    runners_up: tuple[tuple[int, float], ...] = field(default=(), compare=False)
    """The next classes with their scores, where the job keeps them."""

    @property
    def position(self) -> int:
        """Position of the image in the job."""
        return -self.later


class Mistakes:
    """The most confident mistakes of a job, the surest first."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._surest: list[Mistake] = []

    def add(self, batch: FinishedBatch) -> None:
        """Look for them in one batch."""
        if batch.labels is None:
            return
        result, labels = batch.result, batch.labels
        wrong = np.flatnonzero(
            (labels >= 0) & (result.predictions >= 0) & (labels != result.predictions)
        )
        found = wrong[np.argsort(-result.scores[wrong], kind="stable")][:MISTAKES_SHOWN]
        first = self._job.span(batch.number).start
        mistakes = [
            Mistake(
                score=float(result.scores[i]),
                later=-(first + i),
                predicted=int(result.predictions[i]),
                actual=int(labels[i]),
                image_id=batch.identities.ids[i].as_py(),
                runners_up=tuple(
                    zip(
                        result.ranking.classes[i, 1 : 1 + MOST_RUNNERS_UP].tolist(),
                        result.ranking.scores[i, 1 : 1 + MOST_RUNNERS_UP].tolist(),
                        strict=True,
                    )
                ),
            )
            for i in found.tolist()
        ]
        self._surest = heapq.nlargest(MISTAKES_SHOWN, [*self._surest, *mistakes])

    def __iter__(self) -> Iterator[Mistake]:
        return iter(self._surest)
