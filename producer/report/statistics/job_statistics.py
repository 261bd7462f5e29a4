"""What the results of a job tell, found in one walk over its batches.

Nothing is kept of an image but counts, and its label when that was given later, so a job of a
million images takes little more memory than one of a thousand.
"""

from dataclasses import dataclass

import numpy as np

from evaluation.confusion import IntArray
from evaluation.drift import Comparison
from producer.report.statistics.drift import Observation
from producer.report.statistics.examples import Examples
from producer.report.statistics.failure_reasons import FailureReasons
from producer.report.statistics.least_sure import LeastSure
from producer.report.statistics.mistakes import Mistakes
from producer.report.statistics.scores import Scores
from producer.report.statistics.shown_image import ShownImage
from producer.results.finished_batches import FinishedBatch
from producer.results.merging import merge
from storage.jobs.stored_job import StoredJob
from storage.jobs.tally import Tally
from storage.models.store import Manifest
from storage.settings import StorageSettings


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """All that is told of a job."""

    tally: Tally
    classes: IntArray
    """Images by predicted class."""
    scores: Scores
    mistakes: list[ShownImage]
    """Wrong predictions with the highest scores, the most confident first."""
    least_sure: list[ShownImage]
    """Predictions with the lowest scores, the lowest first."""
    examples: Examples
    """Some images of each predicted class."""
    reasons: FailureReasons
    drift: list[Comparison] | None
    """The job beside the baseline of its model; none when the model has no baseline."""


def analyse(
    stored: StoredJob, manifest: Manifest | None, settings: StorageSettings, *, keep: bool = True
) -> Statistics:
    """Read all results there are, and merge them as `merge` does, unless told not to `keep` them.

    Raises `DamagedResult`, `Corrupt` for damaged labels.
    """
    job = stored.job
    scores, reasons = Scores(), FailureReasons()
    mistakes, least_sure, examples = Mistakes(), LeastSure(), Examples()
    classes = np.zeros(len(job.labels), np.int64)
    observation = Observation(stored, manifest, settings) if manifest else None

    def observe(batch: FinishedBatch) -> None:
        predicted = batch.result.predictions[batch.result.predictions >= 0]
        np.add(classes, np.bincount(predicted, minlength=len(classes)), out=classes)
        scores.add(batch.result, batch.labels)
        mistakes.add(batch)
        least_sure.add(batch)
        examples.add(batch)
        for row in sorted(batch.result.errors):
            image_id = batch.identities.ids[row].as_py()
            reasons.add(image_id, batch.result.errors[row], batch.first + row)
        if observation:
            observation.add(batch.number, batch.result)

    tally = merge(stored, observe=observe, keep=keep)
    return Statistics(
        tally=tally,
        classes=classes,
        scores=scores,
        mistakes=mistakes.surest,
        least_sure=least_sure.images,
        examples=examples,
        reasons=reasons,
        drift=observation.compare(classes) if observation else None,
    )
