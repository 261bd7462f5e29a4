"""May a new version replace the champion?

Both are examined one after the other in clean worker processes, on the same held-out images. What
could be chance is no reason to refuse: every comparison of counts is an exact test.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storage.datasets import DataSet
from storage.evaluation import Evaluation
from storage.examinations import Figures
from storage.models import ModelVersion
from storage.promotions import Check, Comparison, Performance, Promotion, Thresholds
from trainer.errors import ExaminationFailed, Unusable
from trainer.examination import Examination, examine
from trainer.significance import (
    at_least,
    at_most,
    calibration_by_chance,
    calibration_error,
    mcnemar,
)

SPLIT = "test"
SLOWER_MS = 1.0
"""Times for one image that differ by less are taken for equal: so little matters to nobody."""

Examine = Callable[[ModelVersion, Path | None], Examination]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a version becomes champion, and why."""

    promoted: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a version says of the held-out images, in the order of the data set's classes."""

    version: ModelVersion
    evaluation: Evaluation
    actual: NDArray[np.integer]
    """Class indices (N,)."""
    right: NDArray[np.bool_]
    scores: NDArray[np.float32]
    figures: Figures

    @property
    def performance(self) -> Performance:
        """The same in few figures."""
        return Performance(
            right=int(self.right.sum()),
            accuracy=float(self.right.mean()),
            recall=tuple(score.recall for score in self.evaluation.per_class()),
            calibration_error=calibration_error(self.scores, self.right),
            figures=self.figures,
        )


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict and the answers it rests on, as far as there are any."""

    promotion: Promotion
    candidate: Answers | None = None
    champion: Answers | None = None


class Gate:
    """Judges candidates by thresholds."""

    def __init__(self, thresholds: Thresholds, examine_version: Examine | None = None) -> None:
        self.thresholds = thresholds
        self.examine = examine_version or partial(
            examine, seconds=thresholds.seconds, megabytes=thresholds.megabytes
        )

    def judge(
        self,
        candidate: ModelVersion,
        champion: ModelVersion | None,
        dataset: DataSet,
        otherwise: str = "the first champion",
    ) -> Judgement:
        """Examine both on the test split of the data set and compare them.

        `otherwise` is the reason of a candidate that passes without a champion to compare it with.
        Whatever is wrong with the candidate makes a negative verdict. A champion that no worker can
        use is no hindrance; one with other classes or another input shape is.
        """
        try:
            new = self.answers(candidate, dataset)
            old, reason = self._beside(champion, dataset) if champion else (None, otherwise)
        except ExaminationFailed as error:
            return Judgement(promotion=self.refuse(candidate, champion, str(error), dataset))
        comparison = compare(new, old) if old else None
        checks = tuple(weigh(new, old, comparison, self.thresholds))
        faults = [check for check in checks if not check.passed]
        if faults:
            reason = in_short(faults)
        elif comparison:
            reason = next(check.finding for check in checks if check.name == "accuracy")
        promotion = Promotion(
            passed=not faults,
            reason=reason,
            candidate=candidate.pin,
            champion=champion.pin if champion else None,
            dataset=str(dataset),
            dataset_sha256=dataset.description.sha256,
            classes=dataset.description.classes,
            images=len(new.right),
            candidate_performance=new.performance,
            champion_performance=old.performance if old else None,
            comparison=comparison,
            checks=checks,
            thresholds=self.thresholds,
            judged_at=datetime.now(UTC),
        )
        return Judgement(promotion=promotion, candidate=new, champion=old)

    def refuse(
        self,
        candidate: ModelVersion,
        champion: ModelVersion | None,
        reason: str,
        dataset: DataSet | None = None,
    ) -> Promotion:
        """A negative verdict without an examination."""
        return Promotion(
            passed=False,
            reason=reason.removesuffix("."),
            candidate=candidate.pin,
            champion=champion.pin if champion else None,
            dataset=str(dataset) if dataset else None,
            dataset_sha256=dataset.description.sha256 if dataset else None,
            thresholds=self.thresholds,
            judged_at=datetime.now(UTC),
        )

    def answers(self, version: ModelVersion, dataset: DataSet) -> Answers:
        """Examine one version; raises `ExaminationFailed`, also when it is for other images."""
        if problem := find_misfit(version, dataset):
            raise ExaminationFailed(problem)
        found = self.examine(version, dataset.images_path(SPLIT))
        classes = dataset.description.classes
        # Labels in another order than the data set's are as good.
        order = np.array([classes.index(label) for label in version.manifest.labels])
        predicted, actual = order[found.predictions], np.asarray(dataset.labels(SPLIT))
        return Answers(
            version=version,
            evaluation=Evaluation.of(classes, actual, predicted),
            actual=actual,
            right=predicted == actual,
            scores=found.scores,
            figures=found.figures,
        )

    def _beside(self, champion: ModelVersion, dataset: DataSet) -> tuple[Answers | None, str]:
        """The answers of a champion, or why it is no hindrance."""
        try:
            return self.answers(champion, dataset), ""
        except Unusable as error:
            return None, f"{champion} cannot be used: {error}".removesuffix(".")
        except ExaminationFailed as error:  # which may be no fault of the champion
            raise ExaminationFailed(f"it cannot be compared: {error}") from None


def in_short(faults: Sequence[Check]) -> str:
    """The first fault, and the names of the others."""
    others = ", ".join(check.name for check in faults[1:])
    return faults[0].finding + (f"; also refused for {others}" if others else "")


def find_misfit(version: ModelVersion, dataset: DataSet) -> str | None:
    """Why a version cannot be examined on a data set, if it cannot."""
    manifest, about = version.manifest, dataset.description
    if SPLIT not in about.splits or not about.splits[SPLIT].count:
        return f"data set {dataset} has no {SPLIT} images to judge by"
    if manifest.input_shape != about.shape:
        has, needs = (" x ".join(map(str, shape)) for shape in (manifest.input_shape, about.shape))
        return f"{version} takes images of {has}, those of data set {dataset} are {needs}"
    if sorted(manifest.labels) != sorted(about.classes):
        strange = sorted(set(manifest.labels) ^ set(about.classes))
        return (
            f"{version} has {len(manifest.labels)} classes and data set {dataset} "
            f"{len(about.classes)}, {strange[0]!r} being only in one of them"
        )
    return None


def compare(new: Answers, old: Answers) -> Comparison:
    """Count the images that only one of the two has right."""
    gained, lost = int((new.right & ~old.right).sum()), int((old.right & ~new.right).sum())
    return Comparison(gained=gained, lost=lost, p=mcnemar(gained, lost))


def weigh(
    new: Answers, old: Answers | None, comparison: Comparison | None, limits: Thresholds
) -> Iterator[Check]:
    """Everything that is asked of a candidate, and of one that would replace a champion."""
    yield beats_guessing(new, limits)
    yield knows_every_class(new, limits)
    if old and comparison:
        yield is_no_worse(old, comparison, limits)
        yield keeps_every_class(new, old, limits)
        yield is_calibrated(new, old, limits)
        yield is_fast_enough(new, old, limits)
        yield is_small_enough(new, old, limits)


def beats_guessing(new: Answers, limits: Thresholds) -> Check:
    """More right than by naming the most frequent class every time."""
    count, right = len(new.right), int(new.right.sum())
    guess = int(new.evaluation.matrix.sum(axis=1).max())
    p = at_least(right, count, guess / count)
    finding = f"{right:,} of {count:,} right, {guess:,} by guessing, {in_words(p)}"
    return Check(name="guessing", passed=p < limits.alpha, finding=finding)


def knows_every_class(new: Answers, limits: Thresholds) -> Check:
    """The recall of no class is below the floor, and not by chance."""
    matrix = new.evaluation.matrix
    right, support = matrix.diagonal(), matrix.sum(axis=1)
    unsure = limits.alpha / len(matrix)  # of so many classes, one will do badly by chance
    below = [
        c
        for c in range(len(matrix))
        if right[c] < limits.recall * support[c]
        and at_most(int(right[c]), int(support[c]), limits.recall) < unsure
    ]
    return _of_classes("recall", below, new, f"the floor is {limits.recall:.0%}")


def is_no_worse(old: Answers, comparison: Comparison, limits: Thresholds) -> Check:
    """Not significantly fewer right than the champion."""
    gained, lost, p = comparison.gained, comparison.lost, comparison.p
    passed = p >= limits.alpha or gained >= lost
    finding = (
        f"{gained:,} right that {old.version} had wrong, {lost:,} the other way, {in_words(p)}"
    )
    return Check(name="accuracy", passed=passed, finding=finding)


def keeps_every_class(new: Answers, old: Answers, limits: Thresholds) -> Check:
    """The recall of no class fell by more than the tolerance, and not by chance."""
    now, before, support = (
        new.evaluation.matrix.diagonal(),
        old.evaluation.matrix.diagonal(),
        new.evaluation.matrix.sum(axis=1),
    )
    fell = []
    for c in np.flatnonzero(now < before - limits.recall_loss * support):
        here = new.actual == c
        lost = int((old.right & ~new.right & here).sum())
        gained = lost - int(before[c] - now[c])
        if mcnemar(gained, lost) < limits.alpha / len(support):
            fell.append(int(c))
    worst = max(fell, key=lambda c: (before[c] - now[c]) / support[c], default=0)
    fell.sort(key=lambda c: c != worst)
    had = f"{old.version} had {before[worst]:,}"
    return _of_classes("classes", fell, new, had)


def is_calibrated(new: Answers, old: Answers, limits: Thresholds) -> Check:
    """Scores tell the truth, as far as the limit asks or the champion does."""
    error = calibration_error(new.scores, new.right)
    limit = max(limits.calibration, calibration_error(old.scores, old.right))
    passed = error <= limit or error <= calibration_by_chance(new.scores, limits.alpha)
    finding = f"scores are off by {error:.3f}, the limit is {limit:.3f}"
    return Check(name="calibration", passed=passed, finding=finding)


def is_fast_enough(new: Answers, old: Answers, limits: Thresholds) -> Check:
    """One image takes no more than so many times the processor time of the champion."""
    now, before = new.figures.processor_ms, old.figures.processor_ms
    passed = now <= max(limits.latency * before, before + SLOWER_MS)
    finding = (
        f"one image takes {now:.2f} ms of processor time, with {old.version} {before:.2f} ms, "
        f"the limit is {limits.latency:g} times as much"
    )
    return Check(name="latency", passed=passed, finding=finding)


def is_small_enough(new: Answers, old: Answers, limits: Thresholds) -> Check:
    """The process takes no more than so many times the memory of the champion's."""
    now, before = new.figures.peak_memory_mb, old.figures.peak_memory_mb
    finding = (
        f"memory {now:,.0f} MB, with {old.version} {before:,.0f} MB, "
        f"the limit is {limits.memory:g} times as much"
    )
    return Check(name="memory", passed=now <= limits.memory * before, finding=finding)


def in_words(p: float) -> str:
    """A probability, which may be too small for a float."""
    return f"p {p:.2g}" if p else "p below 1e-300"


def _of_classes(name: str, bad: list[int], new: Answers, bar: str) -> Check:
    """A finding about some classes: the first is named, the others are counted."""
    if not bad:
        return Check(name=name, passed=True, finding="every class is recognised well enough")
    matrix = new.evaluation.matrix
    first = bad[0]
    others = f", and {len(bad) - 1} more classes" if len(bad) > 1 else ""
    label = new.evaluation.labels[first]
    finding = f"class {label}: {matrix[first, first]:,} of {matrix[first].sum():,} right, {bar}"
    return Check(name=name, passed=False, finding=finding + others)
