"""What the results of a job tell, found in one walk over its batches.

Nothing is kept of an image but counts, and its label when that was given later, so a job of a
million images takes little more memory than one of a thousand.
"""

from dataclasses import dataclass

import numpy as np

from evaluation.confusion import IntArray
from evaluation.drift import Comparison
from producer.report.statistics.drift import Observation
from producer.report.statistics.failure_reasons import FailureReasons
from producer.report.statistics.mistakes import Mistake, Mistakes
from producer.report.statistics.scores import Scores
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
    mistakes: list[Mistake]
    """Wrong predictions with the highest scores, the most confident first."""
    reasons: FailureReasons
    drift: list[Comparison] | None
    """The job beside the baseline of its model; none when the model has no baseline."""


def analyse(stored: StoredJob, manifest: Manifest | None, settings: StorageSettings) -> Statistics:
    """Read all results there are, and merge them as `merge` does.

    Raises `DamagedResult`, `Corrupt` for damaged labels.
    """
    job = stored.job
    scores, mistakes, reasons = Scores(), Mistakes(job), FailureReasons()
    classes = np.zeros(len(job.labels), np.int64)
    observation = Observation(stored, manifest, settings) if manifest else None

    def observe(batch: FinishedBatch) -> None:
        predicted = batch.result.predictions[batch.result.predictions >= 0]
        np.add(classes, np.bincount(predicted, minlength=len(classes)), out=classes)
        scores.add(batch.result, batch.labels)
        mistakes.add(batch)
        for position in sorted(batch.result.errors):
            image_id = batch.identities.ids[position].as_py()
            reasons.add(image_id, batch.result.errors[position])
        if observation:
            observation.add(batch.number, batch.result)

    tally = merge(stored, observe=observe)
    return Statistics(
        tally=tally,
        classes=classes,
        scores=scores,
        mistakes=list(mistakes),
        reasons=reasons,
        drift=observation.compare(classes) if observation else None,
    )
