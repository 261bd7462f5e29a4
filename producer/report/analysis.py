"""What the results of a job tell, found in one walk over its batches.

Nothing is kept of an image but counts, and its label when that was given later, so a job of a
million images takes little more memory than one of a thousand.
"""

import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluation.baseline import Baseline, comparable, pixel_features
from evaluation.calibration import Calibration, bin_of
from evaluation.confusion import IntArray
from evaluation.drift import Comparison, Observed, compare
from imaging.errors import ImageError
from imaging.images import Pixels, Shape, decode_image, fit_pixels
from imaging.preprocessing import Preprocessing
from producer.results.records import read_identities, read_sound_result
from storage.errors import StorageError
from storage.jobs.inputs import ArrayInputs, read_packed
from storage.jobs.labels import KnownLabels
from storage.jobs.results import BatchResult
from storage.jobs.store import Job, JobStore
from storage.jobs.tally import Tally
from storage.models.store import Manifest
from storage.settings import StorageSettings

SCORE_BINS = 20
PIXEL_SAMPLE = 2_000
"""Images of a job whose pixels are compared with the baseline, at most."""
AT_ONCE = 100
"""Images in memory at once."""
MISTAKES_SHOWN = 24
EXAMPLES_SHOWN = 5
MOST_REASONS = 200


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


@dataclass
class Scores:
    """Scores in bins of equal width from 0 to 1, of images whose prediction is right or wrong."""

    right: IntArray = field(default_factory=lambda: np.zeros(SCORE_BINS, np.int64))
    wrong: IntArray = field(default_factory=lambda: np.zeros(SCORE_BINS, np.int64))
    unlabelled: IntArray = field(default_factory=lambda: np.zeros(SCORE_BINS, np.int64))
    calibration: Calibration = field(
        default_factory=lambda: Calibration.of(np.empty(0), np.empty(0, np.bool_))
    )
    """Of right and wrong ones."""

    def add(self, result: BatchResult, labels: NDArray[np.int32] | None) -> None:
        """Count one result."""
        predicted = result.predictions >= 0
        known = predicted & (labels >= 0) if labels is not None else np.zeros_like(predicted)
        right = known & (result.predictions == labels) if labels is not None else known
        for counts, chosen in (
            (self.right, right),
            (self.wrong, known & ~right),
            (self.unlabelled, predicted & ~known),
        ):
            bins = bin_of(result.scores[chosen], SCORE_BINS)
            counts += np.bincount(bins, minlength=SCORE_BINS)
        self.calibration += Calibration.of(result.scores[known], right[known])

    @property
    def all(self) -> IntArray:
        """Every prediction (SCORE_BINS,)."""
        return self.right + self.wrong + self.unlabelled


@dataclass
class Reason:
    """Error records that differ only in numbers, names and paths."""

    kind: str
    count: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)
    """Id and full reason of the first ones."""


class Reasons:
    """Error records by kind of reason."""

    def __init__(self) -> None:
        self._kinds: dict[str, Reason] = {}

    def add(self, image_id: str, reason: str) -> None:
        """Count one error record."""
        kind = kind_of(reason)
        if kind not in self._kinds and len(self._kinds) >= MOST_REASONS:
            kind = "other reasons"
        group = self._kinds.setdefault(kind, Reason(kind))
        group.count += 1
        if len(group.examples) < EXAMPLES_SHOWN:
            group.examples.append((image_id, reason))

    def __iter__(self) -> Iterator[Reason]:
        """The kinds, the commonest first."""
        return iter(sorted(self._kinds.values(), key=lambda group: (-group.count, group.kind)))


def kind_of(reason: str) -> str:
    """A reason without what differs from image to image: quoted text, paths and numbers."""
    kind = re.sub(r"'[^']*'|\"[^\"]*\"", "…", reason[:1000])
    kind = re.sub(r"(?<!\w)\S*/\S*", "…", kind)
    return re.sub(r"\b(0x[0-9a-fA-F]+|\d+(?:[.,]\d+)*)\b", "N", kind)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that is told of a job."""

    tally: Tally
    classes: IntArray
    """Images by predicted class."""
    scores: Scores
    mistakes: list[Mistake]
    """Wrong predictions with the highest scores, the most confident first."""
    reasons: Reasons
    drift: list[Comparison] | None
    """The job beside the baseline of its model; none when the model has no baseline."""


def inspect(
    store: JobStore, job: Job, manifest: Manifest | None, settings: StorageSettings
) -> Findings:
    """Walk over all results there are; raises `DamagedResult`, `Corrupt` for damaged labels."""
    known = KnownLabels(store, job)
    tally, scores, reasons = Tally(store, job, known), Scores(), Reasons()
    classes = np.zeros(len(job.labels), np.int64)
    mistakes: list[Mistake] = []
    observation = Observation(store, job, manifest, settings) if manifest else None
    for batch in sorted(store.done(job)):
        result = read_sound_result(store, job, batch)
        labels = known.of(batch)
        tally.add(batch, result, labels)
        scores.add(result, labels)
        predicted = result.predictions[result.predictions >= 0]
        classes += np.bincount(predicted, minlength=len(classes))
        if labels is not None:
            found = batch_mistakes(job, batch, result, labels)
            mistakes = heapq.nlargest(MISTAKES_SHOWN, [*mistakes, *found])
        if result.errors:
            ids = read_identities(store, job, batch).ids
            for position in sorted(result.errors):
                reasons.add(ids[position].as_py(), result.errors[position])
        if observation:
            observation.add(batch, result)
    return Findings(
        tally=tally,
        classes=classes,
        scores=scores,
        mistakes=mistakes,
        reasons=reasons,
        drift=observation.compare(classes) if observation else None,
    )


def batch_mistakes(
    job: Job, batch: int, result: BatchResult, labels: NDArray[np.int32]
) -> list[Mistake]:
    """The most confident mistakes of one batch."""
    wrong = np.flatnonzero(
        (labels >= 0) & (result.predictions >= 0) & (labels != result.predictions)
    )
    found = wrong[np.argsort(-result.scores[wrong], kind="stable")][:MISTAKES_SHOWN]
    first = job.span(batch).start
    return [
        Mistake(
            score=float(result.scores[i]),
            later=-(first + i),
            predicted=int(result.predictions[i]),
            actual=int(labels[i]),
        )
        for i in found.tolist()
    ]


class Observation:
    """Counts a job in the bins of its model's baseline: all scores, and the pixels of a sample."""

    def __init__(
        self, store: JobStore, job: Job, manifest: Manifest, settings: StorageSettings
    ) -> None:
        self._job = job
        self._pictures = Pictures(
            store, job, manifest.input_shape, manifest.preprocessing, settings
        )
        self._baseline = manifest.baseline
        count = min(job.total, PIXEL_SAMPLE)
        self._sample = np.sort(np.random.default_rng(1).choice(job.total, count, replace=False))
        self._scores = np.zeros(0, np.int64)
        self._pixels: dict[str, IntArray] = {}

    def add(self, batch: int, result: BatchResult) -> None:
        """Count one result. Images that failed are left alone: they may be harmful."""
        if self._baseline is None:
            return
        found = self._baseline.scores.count(comparable(result.scores[result.predictions >= 0]))
        self._scores = found + (self._scores if self._scores.size else 0)
        span = self._job.span(batch)
        first, beyond = np.searchsorted(self._sample, (span.start, span.stop))
        sample = self._sample[first:beyond]
        sample = sample[result.predictions[sample - span.start] >= 0]
        for some in np.split(sample, range(AT_ONCE, len(sample), AT_ONCE)):
            self._look_at(self._baseline, self._pictures.read_some(some.tolist()))

    def _look_at(self, baseline: Baseline, images: Sequence[Pixels]) -> None:
        if not images:
            return
        for name, values in pixel_features(np.stack(images)).items():
            if name in baseline.pixels:
                counts = baseline.pixels[name].count(values)
                self._pixels[name] = counts + self._pixels.get(name, 0)

    def compare(self, classes: IntArray) -> list[Comparison] | None:
        """The outcome; none without a baseline."""
        if self._baseline is None:
            return None
        if not self._scores.size:
            return []
        observed = Observed(classes=classes, scores=self._scores, pixels=self._pixels)
        return compare(self._baseline, observed)


class Pictures:
    """The images of a job as the model saw them."""

    def __init__(
        self,
        store: JobStore,
        job: Job,
        shape: Shape,
        preprocessing: Preprocessing,
        settings: StorageSettings,
    ) -> None:
        self._store, self._job, self._shape, self._settings = store, job, shape, settings
        self._preprocessing = preprocessing
        self._array: Pixels | None = None

    def read(self, position: int) -> Pixels:
        """Pixels (H, W, C) of one image; raises `ImageError` when its file has gone."""
        if isinstance(self._job.inputs, ArrayInputs):
            if self._array is None:
                self._array = self._store.open_array(self._job)
            return fit_pixels(self._array[position], self._shape, self._preprocessing)
        batch, offset = divmod(position, self._job.batch_size)
        image = read_packed(self._store.pack_path(self._job, batch), offset)
        content = image.read(self._store.root, max_bytes=self._settings.max_image_bytes)
        return decode_image(
            content,
            self._shape,
            self._preprocessing,
            max_pixels=self._settings.max_image_pixels,
        )

    def read_some(self, positions: Iterable[int]) -> list[Pixels]:
        """Several images; those whose files have gone or changed are left out."""
        found = []
        for position in positions:
            with suppress(ImageError, StorageError):
                found.append(self.read(position))
        return found
