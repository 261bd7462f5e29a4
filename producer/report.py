"""Pictures of how a job went: the confusion matrix and the most confident mistakes."""

import heapq
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from producer.errors import NothingToReport
from storage.batches import BatchImages
from storage.errors import ImageError
from storage.images import Pixels, Shape
from storage.jobs import Job, JobStore
from storage.models import ModelStore
from storage.settings import StorageSettings
from storage.tally import Tally, read_labels

CONFUSION_FILE = "confusion.png"
MISTAKES_FILE = "mistakes.png"
MISTAKES_SHOWN = 25


@dataclass(frozen=True, kw_only=True, order=True)
class Mistake:
    """One wrong prediction. Sorts by score, and among equal ones the later image comes first."""

    score: float
    later: int
    """Minus its position in the job."""
    predicted: int
    actual: int

    @property
    def position(self) -> int:
        """Position of the image in the job."""
        return -self.later


def write_report(
    store: JobStore, models: ModelStore, job: Job, tally: Tally, settings: StorageSettings
) -> list[Path]:
    """Draw the pictures into the job's folder and return their paths.

    Raises `NothingToReport` when no image has both a label and a prediction.
    """
    from storage.pictures import confusion_picture, image_grid

    if tally.evaluation.count == 0:
        raise NothingToReport(
            f"Job {job.id} has no image with both a label and a prediction: there is nothing to "
            "compare."
        )
    folder = store.path(job.id)
    title = f"{job.source} by {job.model}"
    confusion_picture(tally.evaluation, folder / CONFUSION_FILE, title)
    mistakes = worst_mistakes(store, job, MISTAKES_SHOWN)
    if not mistakes:
        (folder / MISTAKES_FILE).unlink(missing_ok=True)
        return [folder / CONFUSION_FILE]
    shape = models.version(job.model.name, job.model.number).manifest.input_shape
    image_grid(
        [read_picture(store, job, mistake.position, shape, settings) for mistake in mistakes],
        [caption(job, mistake) for mistake in mistakes],
        [True] * len(mistakes),
        folder / MISTAKES_FILE,
        f"Most confident mistakes: {title}",
    )
    return [folder / CONFUSION_FILE, folder / MISTAKES_FILE]


def worst_mistakes(store: JobStore, job: Job, count: int) -> list[Mistake]:
    """The wrong predictions with the highest scores, the most confident first."""
    worst: list[Mistake] = []
    for batch in sorted(store.done(job)):
        labels = read_labels(store, job, batch)
        if labels is None:
            return []
        result = store.read_result(job, batch)
        wrong = np.flatnonzero(
            (labels >= 0) & (result.predictions >= 0) & (labels != result.predictions)
        )
        found = wrong[np.argsort(-result.scores[wrong], kind="stable")][:count]
        first = job.span(batch).start
        worst += [
            Mistake(
                score=float(result.scores[i]),
                later=-(first + i),
                predicted=int(result.predictions[i]),
                actual=int(labels[i]),
            )
            for i in found.tolist()
        ]
        worst = heapq.nlargest(count, worst)
    return worst


def read_picture(
    store: JobStore, job: Job, position: int, shape: Shape, settings: StorageSettings
) -> Pixels:
    """One image of a job as the model saw it; black when its file has gone meanwhile."""
    batch, offset = divmod(position, job.batch_size)
    try:
        return BatchImages(store, job, batch, shape, settings).read(offset)
    except ImageError:
        return np.zeros(shape, np.uint8)


def caption(job: Job, mistake: Mistake) -> str:
    """What stands below a mistake."""
    predicted, actual = job.labels[mistake.predicted], job.labels[mistake.actual]
    return f"{predicted} ({mistake.score:.0%})\nactual {actual}"
