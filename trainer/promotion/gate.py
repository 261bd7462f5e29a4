"""May a new version replace the champion?

Both are examined one after the other in clean worker processes, on the same held-out images, and
then timed in turns by a third. What could be chance is no reason to refuse: every comparison of
counts is an exact test.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.calibration import Calibration
from evaluation.confusion import Evaluation
from evaluation.significance import at_least, at_least_among, at_most, mcnemar
from storage.class_names import Classes, canonical
from storage.datasets.store import DataSet
from storage.models.examination_messages import Timing
from storage.models.metrics import Metrics
from storage.models.promotions import Check, Comparison, Performance, Promotion, Thresholds
from storage.models.store import ModelVersion
from trainer.errors import ExaminationFailed, Unusable, as_clause
from trainer.promotion.examination_process import Examination, examine, measure_in_turns

SPLIT = "test"
MARGIN = 0.1
"""Share of what guessing gets wrong that must be right; twice as many as by guessing will do."""
SLOWER_MS = 1.0
"""Times for one image that differ by less are taken for equal: so little matters to nobody."""
FAST_MS = 50.0
"""A better version that is no slower than this may be slower than the champion, by any factor."""
SMALL_MB = 1000.0
"""A version may take so much however little the champion takes: a small one takes 600 with
TensorFlow, and 100 with ONNX Runtime."""
TIMINGS = 2
"""A difference in time is believed when it was found so many times."""
MOST_NAMED = 3
"""So many classes a finding names; the others are counted."""

Examine = Callable[..., Examination]
"""Called with a version and the path of images."""
Measure = Callable[[Sequence[ModelVersion], Path], Sequence[Timing]]


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
    calibration: Calibration
    metrics: Metrics

    def with_timing(self, timing: Timing) -> "Answers":
        """The same with another measurement of the time."""
        return replace(self, metrics=self.metrics.model_copy(update=timing.model_dump()))

    @property
    def performance(self) -> Performance:
        """The same in few metrics."""
        return Performance(
            right=int(self.right.sum()),
            accuracy=float(self.right.mean()),
            recall=tuple(score.recall for score in self.evaluation.per_class()),
            calibration_error=self.calibration.error,
            metrics=self.metrics,
        )


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict and the answers it rests on, as far as there are any."""

    promotion: Promotion
    candidate: Answers | None = None
    champion: Answers | None = None


class Gate:
    """Judges candidates by thresholds."""

    def __init__(
        self,
        thresholds: Thresholds,
        examine_version: Examine | None = None,
        measure: Measure | None = None,
    ) -> None:
        self.thresholds = thresholds
        seconds, megabytes = thresholds.seconds, thresholds.megabytes
        self.examine = examine_version or partial(examine, seconds=seconds, megabytes=megabytes)
        self.measure = measure or partial(measure_in_turns, seconds=seconds, megabytes=megabytes)

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
            comparison = compare(new, old) if old else None
            new, old = self._timed(new, old, comparison, dataset)
        except ExaminationFailed as error:
            return Judgement(promotion=self.refuse(candidate, champion, str(error), dataset))
        checks = tuple(weigh(new, old, comparison, self.thresholds))
        faults = [check for check in checks if not check.passed]
        if faults:
            reason = in_short(faults)
        else:
            if comparison:
                reason = next(check.finding for check in checks if check.name == "accuracy")
            reason = "; ".join([reason, *(check.finding for check in checks if check.notable)])
        promotion = Promotion(
            passed=not faults,
            reason=reason,
            candidate=candidate.pin,
            champion=champion.pin if champion else None,
            dataset=str(dataset),
            dataset_sha256=dataset.description.sha256,
            classes=dataset.description.classes,
            images=len(new.right),
            runtime=candidate.manifest.runtime,
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
            reason=as_clause(reason),
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
        position = Classes(classes)
        order = np.array([position[label] for label in version.manifest.labels])
        predicted, actual = order[found.predictions], np.asarray(dataset.labels(SPLIT))
        return Answers(
            version=version,
            evaluation=Evaluation.of(classes, actual, predicted),
            actual=actual,
            right=predicted == actual,
            calibration=Calibration.of(found.scores, predicted == actual),
            metrics=found.metrics,
        )

    def _timed(
        self, new: Answers, old: Answers | None, comparison: Comparison | None, dataset: DataSet
    ) -> tuple[Answers, Answers | None]:
        """The same with times that were measured in turns, twice before they make a difference."""
        if not old and self.thresholds.latency_ms is None:
            return new, old
        versions = [answers.version for answers in (new, old) if answers]
        for _ in range(TIMINGS):
            timings = self.measure(versions, dataset.images_path(SPLIT))
            new, old = new.with_timing(timings[0]), old and old.with_timing(timings[-1])
            check = is_fast_enough(new, old, comparison, self.thresholds)
            if check.passed and not check.notable:
                break
        return new, old

    def _beside(self, champion: ModelVersion, dataset: DataSet) -> tuple[Answers | None, str]:
        """The answers of a champion, or why it is no hindrance."""
        try:
            return self.answers(champion, dataset), ""
        except Unusable as error:
            return None, f"{champion} cannot be used: {as_clause(error)}"
        except ExaminationFailed as error:  # which may be no fault of the champion
            raise ExaminationFailed(f"it cannot be compared: {as_clause(error)}") from None


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
    named, known = (set(map(canonical, names)) for names in (manifest.labels, about.classes))
    if named != known:
        strange = sorted(named ^ known)
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
    if old and comparison:
        yield is_no_worse(old, comparison, limits)
    yield knows_every_class(new, limits)
    if old:
        yield keeps_every_class(new, old, limits)
    yield is_calibrated(new, old, limits)
    yield is_fast_enough(new, old, comparison, limits)
    if old:
        yield is_small_enough(new, old, limits)


def beats_guessing(new: Answers, limits: Thresholds) -> Check:
    """Clearly more right than by naming the most frequent class every time."""
    count, right = len(new.right), int(new.right.sum())
    guess = int(new.evaluation.matrix.sum(axis=1).max())
    p = at_least(right, count, guess / count)
    enough = min(2 * guess, guess + MARGIN * (count - guess))
    finding = f"{right:,} of {count:,} right, {guess:,} by guessing, {in_words(p)}"
    if p < limits.alpha and right < enough:
        finding += f", at least {math.ceil(enough):,} are asked"
    return Check(name="guessing", passed=p < limits.alpha and right >= enough, finding=finding)


def knows_every_class(new: Answers, limits: Thresholds) -> Check:
    """The recall of no class is below the floor, and not by chance.

    A class of few images may have none right by chance, but not too many classes.
    """
    matrix = new.evaluation.matrix
    right, support = matrix.diagonal(), matrix.sum(axis=1)
    unsure = limits.alpha / len(matrix)  # of so many classes, one will do badly by chance
    missed = (right == 0) & (support > 0)
    below = np.flatnonzero((right < limits.recall * support) | missed).tolist()
    certain = [c for c in below if at_most(int(right[c]), int(support[c]), limits.recall) < unsure]
    too_many = at_least_among(int(missed.sum()), (1 - limits.recall) ** support) < limits.alpha
    passed = not (certain or too_many)
    findings = []
    if below:
        doubt = ", but too few images to refuse it for that" if passed else ""
        told = _some([_share(new, c) for c in certain or below])
        findings.append(f"{told}, the floor is {limits.recall:.0%}{doubt}")
    if not support.all():
        unknown = [f"class {new.evaluation.labels[c]}" for c in np.flatnonzero(support == 0)]
        findings.append(f"no test images of {_some(unknown)}")
    return Check(
        name="recall",
        passed=passed,
        finding="; ".join(findings) or "every class is recognised well enough",
        notable=passed and bool(findings),
    )


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
    fell = np.flatnonzero(now < before - limits.recall_loss * support).tolist()
    fell.sort(key=lambda c: (now[c] - before[c]) / support[c])

    def is_certain(c: int) -> bool:
        lost = int((old.right & ~new.right & (new.actual == c)).sum())
        gained = lost - int(before[c] - now[c])
        return mcnemar(gained, lost) < limits.alpha / len(support)

    certain = list(filter(is_certain, fell))
    told = [f"{_share(new, c)}, {old.version} had {before[c]:,}" for c in certain or fell]
    if certain:
        return Check(name="classes", passed=False, finding=_some(told))
    if fell:
        return Check(name="classes", passed=True, finding=f"{_some(told)}, which may be chance")
    finding = f"no class lost more than {limits.recall_loss:.0%}"
    return Check(name="classes", passed=True, finding=finding)


def is_calibrated(new: Answers, old: Answers | None, limits: Thresholds) -> Check:
    """Scores tell the truth, as far as the limit asks or the champion does.

    What a first champion lacks in this is only told: there is none better.
    """
    limit = max(limits.calibration, old.calibration.error if old else 0.0)
    off = new.calibration.exceeds(limit, limits.alpha)
    finding = f"scores are off by {new.calibration.error:.4f}, the limit is {limit:.4f}"
    return Check(
        name="calibration", passed=not (off and old), finding=finding, notable=off and not old
    )


def is_fast_enough(
    new: Answers, old: Answers | None, comparison: Comparison | None, limits: Thresholds
) -> Check:
    """One image takes no more than so many times the CPU time of the champion.

    A version that is significantly better may be slower, if it is fast all the same. A limit in
    milliseconds takes the place of all this.
    """
    now = new.metrics.cpu_ms
    finding, limit = f"one image takes {now:.2f} ms of CPU time", ""
    passed, slower = True, False
    if old and comparison:
        before = old.metrics.cpu_ms
        slower = now > max(limits.latency * before, before + SLOWER_MS)
        better = comparison.gained > comparison.lost and comparison.p < limits.alpha
        passed = not slower or (better and now <= FAST_MS)
        finding += f", with {old.version} {before:.2f} ms"
        limit = (
            f", the limit is {limits.latency:g} times as much, {FAST_MS:g} ms for a better version"
        )
    if slower:
        finding = f"slower, {now / before:.1f} x: {finding}"
    if limits.latency_ms is not None:
        passed = now <= limits.latency_ms
        limit = f", the limit is {limits.latency_ms:g} ms"
    if not passed:
        finding += limit
    return Check(name="latency", passed=passed, finding=finding, notable=slower and passed)


def is_small_enough(new: Answers, old: Answers, limits: Thresholds) -> Check:
    """The process takes no more than so many times the memory of the champion's."""
    now, before = new.metrics.peak_memory_mb, old.metrics.peak_memory_mb
    most = limits.memory * before
    finding = (
        f"memory {now:,.0f} MB, with {old.version} {before:,.0f} MB, "
        f"the limit is {limits.memory:g} times as much"
    )
    if most < SMALL_MB:
        finding += f", or {SMALL_MB:,.0f} MB"
    return Check(name="memory", passed=now <= max(most, SMALL_MB), finding=finding)


def in_words(p: float) -> str:
    """A probability, which may be too small for a float."""
    return f"p {p:.2g}" if p else "p below 1e-300"


def _share(answers: Answers, c: int) -> str:
    """How many images of a class are right."""
    matrix, label = answers.evaluation.matrix, answers.evaluation.labels[c]
    return f"class {label}: {matrix[c, c]:,} of {matrix[c].sum():,} right"


def _some(told: Sequence[str]) -> str:
    """What is told of the first classes, and how many more there are."""
    others = len(told) - MOST_NAMED
    more = [f"{others} more class{'es' if others > 1 else ''}"] if others > 0 else []
    return ", ".join([*told[:MOST_NAMED], *more])
