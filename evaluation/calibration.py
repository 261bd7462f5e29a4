"""Do scores tell the truth? One expected calibration error for the gate, comparisons and reports.

Everything follows from counts by bin of score, so that a job of any size is added up batch by
batch.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evaluation.confusion import IntArray

BINS = 10
DRAWS = 10_000
TOLERATED_ERROR = 0.1
"""How far scores may be off before anybody needs to hear of it."""


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Predictions whose scores are between `low` and `high`; it is not empty."""

    low: float
    high: float
    images: int
    right: int
    score: float
    """Their mean score."""

    @property
    def accuracy(self) -> float:
        """Share of them that is right."""
        return self.right / self.images


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Scores of predicted classes beside what was right, in bins of equal width from 0 to 1."""

    images: IntArray
    """Predictions (BINS,)."""
    right: IntArray
    """Right ones (BINS,)."""
    promised: NDArray[np.float64]
    """Sum of the scores (BINS,)."""

    @classmethod
    def of(cls, scores: NDArray[np.floating], right: NDArray[np.bool_]) -> "Calibration":
        """Count scores (N,), 0 to 1, of predictions that are right or not."""
        bins = bin_of(scores, BINS)
        return cls(
            images=np.bincount(bins, minlength=BINS),
            right=np.bincount(bins[right], minlength=BINS),
            promised=np.asarray(np.bincount(bins, weights=scores, minlength=BINS), np.float64),
        )

    def __add__(self, other: "Calibration") -> "Calibration":
        return Calibration(
            images=self.images + other.images,
            right=self.right + other.right,
            promised=self.promised + other.promised,
        )

    @property
    def count(self) -> int:
        """All predictions."""
        return int(self.images.sum())

    @property
    def confidence(self) -> float:
        """Mean score, 0 of no predictions."""
        return float(self.promised.sum() / max(1, self.count))

    @property
    def accuracy(self) -> float:
        """Share of right predictions, 0 of none."""
        return float(self.right.sum() / max(1, self.count))

    @cached_property
    def error(self) -> float:
        """Expected calibration error, 0 to 1; 0 of no predictions.

        The mean distance between score and share of right predictions, over the bins (Guo et al.,
        On Calibration of Modern Neural Networks, 2017).
        """
        return float(np.abs(self.promised - self.right).sum() / max(1, self.count))

    def chance(self, alpha: float) -> float:
        """The error that so many true scores exceed with probability `alpha` at most.

        That of scores which all are the mean of their bin, which differ most by chance.
        """
        mean = np.clip(self.promised / np.maximum(self.images, 1), 0.0, 1.0)
        right = np.random.default_rng(1).binomial(self.images, mean, size=(DRAWS, BINS))
        errors = np.abs(self.images * mean - right).sum(axis=1) / max(1, self.count)
        return float(np.quantile(errors, 1 - alpha))

    def exceeds(self, limit: float, alpha: float) -> bool:
        """Whether the error is above a limit, and above what chance explains."""
        return self.error > limit and self.error > self.chance(alpha)

    @property
    def bins(self) -> list[ReliabilityBin]:
        """The bins that are not empty, by score."""
        return [
            ReliabilityBin(
                low=i / BINS,
                high=(i + 1) / BINS,
                images=int(self.images[i]),
                right=int(self.right[i]),
                score=float(self.promised[i] / self.images[i]),
            )
            for i in np.flatnonzero(self.images).tolist()
        ]


def bin_of(scores: NDArray[np.floating], bins: int) -> NDArray[np.int64]:
    """Number of the bin (N,) that each score, 0 to 1, lies in.

    In double precision: 0.9 as a float32 is below 0.9, and ten times that may be 9.
    """
    return np.clip((scores.astype(np.float64) * bins).astype(np.int64), 0, bins - 1)
