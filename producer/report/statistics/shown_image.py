"""An image with its prediction, as the report shows it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from producer.results.finished_batches import FinishedBatch
from storage.jobs.inputs import UNLABELLED

MOST_RUNNERS_UP = 4


@dataclass(frozen=True, kw_only=True)
class ShownImage:
    """An image that has a prediction."""

    position: int
    """Position of the image in the job."""
    image_id: str
    predicted: int
    actual: int
    """`UNLABELLED` where that is not known."""
    score: float
    runners_up: tuple[tuple[int, float], ...] = ()
    """The next classes with their scores, where the job keeps them."""

    @property
    def is_mistake(self) -> bool:
        return self.actual not in (UNLABELLED, self.predicted)


def images_of(batch: FinishedBatch, rows: Iterable[int]) -> Iterator[ShownImage]:
    """Some images of a batch, by their place in it."""
    result, labels = batch.result, batch.labels
    others = slice(1, 1 + MOST_RUNNERS_UP)
    for i in rows:
        classes, scores = result.ranking.classes[i, others], result.ranking.scores[i, others]
        yield ShownImage(
            position=batch.first + i,
            image_id=batch.identities.ids[i].as_py(),
            predicted=int(result.predictions[i]),
            actual=UNLABELLED if labels is None else int(labels[i]),
            score=float(result.scores[i]),
            runners_up=tuple(zip(classes.tolist(), scores.tolist(), strict=True)),
        )
