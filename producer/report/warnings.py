"""What must not be overlooked in a job: the head of its report tells it, in a sentence each."""

from collections.abc import Iterator

import numpy as np

from console.counts import counted
from console.shortening import shortened
from evaluation.calibration import TOLERATED_ERROR, Calibration
from evaluation.confusion import Evaluation
from evaluation.drift import FALSE_ALARMS
from evaluation.significance import at_least, at_least_among, wilson_interval
from producer.report.formatting import LONGEST_NAME, fraction, percent
from producer.report.statistics.job_statistics import Statistics
from producer.results.summary import Summary
from storage.jobs.job import Job, Status
from storage.models.store import Manifest

MANY_ERRORS = 0.1
"""Share of failed images above which they are called many."""
WIDE_INTERVAL = 0.2
"""An accuracy that is known no better than this is over few images."""
TOLERATED_LOSS = 0.01
"""How far below its test accuracy a model may be without a warning, even when that is no chance."""
GUESSING = 0.05
"""An accuracy that is reached by guessing more often than this is no better."""
RECALL = 0.5
"""Of a class that is recognised at least so often, not a single image right is no chance."""
MOST_NAMED = 5

Caution = tuple[str, str]


def warn(
    job: Job, summary: Summary, statistics: Statistics, manifest: Manifest | None
) -> Iterator[Caution]:
    """All warnings of a job."""
    evaluation = statistics.tally.evaluation
    yield from of_progress(summary)
    yield from of_failures(job, summary, statistics)
    if evaluation.count and not summary.is_no_sample:
        yield from of_accuracy(evaluation, manifest)
        yield from of_classes(evaluation)
        yield from of_scores(statistics.scores.calibration)
    elif summary.images.predicted:
        yield from of_unknown_answers(summary, statistics, manifest)
    yield from of_drift(statistics)


def of_progress(summary: Summary) -> Iterator[Caution]:
    """A job that has not ended well, or not yet."""
    done = summary.images.predicted + summary.images.failed
    progress = f"{done:,} of {counted(summary.images.total, 'image is', 'images are')} done"
    if summary.status == Status.CANCELLED:
        yield "The job was cancelled.", f"{progress}."
    elif summary.status == Status.FAILED:
        yield "The job has failed.", f"{summary.reason} {progress}."
    elif not summary.status.ended:
        yield "The job goes on.", f"{progress}; the metrics are over these."


def of_failures(job: Job, summary: Summary, statistics: Statistics) -> Iterator[Caution]:
    """Images without a prediction."""
    failed = summary.images.failed
    done = summary.images.predicted + failed
    if failed:
        many = job.excess(statistics.tally.failed) or failed > MANY_ERRORS * done
        have = "has" if failed == 1 else "have"
        yield (
            f"{'Many' if many else 'Some'} images failed.",
            f"{failed:,} of {done:,} {have} an error record instead of a prediction.",
        )


def of_accuracy(evaluation: Evaluation, manifest: Manifest | None) -> Iterator[Caution]:
    """An accuracy that is uncertain, no better than by guessing, or below that of the test."""
    count, right = evaluation.count, int(evaluation.matrix.trace())
    low, high = wilson_interval(right, count)
    support = evaluation.matrix.sum(axis=1)
    commonest = int(support.argmax())
    guess = int(support[commonest])
    if high - low > WIDE_INTERVAL:
        yield (
            "Few images have a label.",
            f"Over {count:,} the accuracy may be anything from {percent(low)} to {percent(high)}.",
        )
    elif guess < count and at_least(right, count, guess / count) >= GUESSING:
        yield (
            "The answers are no better than guessing.",
            f"{percent(right / count)} are right; always "
            f"{shortened(evaluation.labels[commonest], LONGEST_NAME)!r} would be "
            f"{percent(guess / count)}.",
        )
    tested = manifest.accuracy if manifest else None
    if tested is not None and high < tested - TOLERATED_LOSS:
        yield (
            "The accuracy is below that of the model's test.",
            f"{percent(right / count)} here, {percent(tested)} there.",
        )


def of_classes(evaluation: Evaluation) -> Iterator[Caution]:
    """Classes none of whose images is right, if that is no chance for one of them or for all."""
    matrix = evaluation.matrix
    support = matrix.sum(axis=1)
    missed = np.flatnonzero((matrix.diagonal() == 0) & (support > 0))
    if not missed.size:
        return
    chances = (1 - RECALL) ** support
    of_one = float(chances[missed].min()) * int((support > 0).sum())
    of_all = at_least_among(missed.size, chances[support > 0])
    if min(of_one, of_all) < FALSE_ALARMS:
        order = sorted(missed.tolist(), key=lambda c: -support[c])
        told = [
            f"{shortened(evaluation.labels[c], LONGEST_NAME)}, 0 of {support[c]:,}"
            for c in order[:MOST_NAMED]
        ]
        others = len(order) - len(told)
        yield (
            "Classes are not recognised." if len(order) > 1 else "A class is not recognised.",
            "; ".join([*told, *([f"and {others:,} more"] if others else [])]) + ".",
        )


def of_scores(calibration: Calibration) -> Iterator[Caution]:
    """Scores that promise too much or too little."""
    if calibration.exceeds(TOLERATED_ERROR, FALSE_ALARMS):
        yield (
            "The scores do not tell how often the model is right.",
            f"They promise {percent(calibration.confidence)} right answers, "
            f"{percent(calibration.accuracy)} are right; the expected calibration error is "
            f"{fraction(calibration.error)}.",
        )


def of_unknown_answers(
    summary: Summary, statistics: Statistics, manifest: Manifest | None
) -> Iterator[Caution]:
    """Predictions that can be compared with nothing."""
    why = None
    if manifest is None:
        why = "the model is no longer there"
    elif statistics.drift is None:
        why = "the model has no baseline to compare with"
    elif all(comparison.chance >= 1 for comparison in statistics.drift):
        why = "so few images may differ in everything from those of the model's test"
    labelled = "No image has a label"
    if summary.is_no_sample:
        labelled = f"The {summary.labelled:,} labelled images are no sample of the others"
    if why:
        yield "Nothing tells whether the answers are right.", f"{labelled}, and {why}."


def of_drift(statistics: Statistics) -> Iterator[Caution]:
    """Images unlike those of the model's test."""
    drifted = [comparison for comparison in statistics.drift or [] if comparison.drifted]
    if drifted:
        farthest = sorted(drifted, key=lambda comparison: -comparison.distance)
        metrics = ", ".join(f"{c.feature} {fraction(c.distance)}" for c in farthest)
        yield (
            "The images differ from those the model was tested with.",
            f"Expect more mistakes than in the test. Distances, 0 to 1: {metrics}.",
        )
