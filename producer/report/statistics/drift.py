"""A job beside the baseline of its model."""

from collections.abc import Sequence

import numpy as np

from evaluation.baseline import Baseline, comparable, pixel_features
from evaluation.confusion import IntArray
from evaluation.drift import Comparison, Observed, compare
from imaging.images import Pixels
from storage.jobs.batches import JobImages
from storage.jobs.results import BatchResult
from storage.jobs.stored_job import StoredJob
from storage.models.store import Manifest
from storage.settings import StorageSettings

PIXEL_SAMPLE = 2_000
"""Images of a job whose pixels are compared with the baseline, at most."""
AT_ONCE = 100
"""Images in memory at once."""


class Observation:
    """Counts a job in the bins of its model's baseline: all scores, and the pixels of a sample."""

    def __init__(self, stored: StoredJob, manifest: Manifest, settings: StorageSettings) -> None:
        self._job = stored.job
        self._pictures = JobImages(stored, manifest.input_shape, manifest.preprocessing, settings)
        self._baseline = manifest.baseline
        count = min(stored.job.total, PIXEL_SAMPLE)
        self._sample = np.sort(
            np.random.default_rng(1).choice(stored.job.total, count, replace=False)
        )
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
