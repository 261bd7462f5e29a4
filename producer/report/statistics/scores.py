"""Scores of a job's predictions."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluation.calibration import Calibration, bin_of
from evaluation.confusion import IntArray
from storage.jobs.results import BatchResult

SCORE_BINS = 20


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
