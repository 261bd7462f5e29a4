"""Does a job look like what its model was tested with?

Two histograms of the same feature are compared by their total variation distance: the share of the
images that would have to change their bin to make them equal. Small jobs differ by chance, so a
distance counts only beyond what chance explains. For n and m independent images it is, on average,
at most half the sum over the bins of sqrt(p (1 - p) (1/n + 1/m)), with p the share of a bin, and
McDiarmid's inequality bounds how rarely it lies far above that, for any n: no table and no
resampling is needed.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.baseline import Baseline
from evaluation.confusion import IntArray

FALSE_ALARMS = 0.001
"""Share of undisturbed jobs that may be warned of, over all features of a job together."""
SMALLEST_DRIFT = 0.2
"""Less is not told, however sure it is: the first images of a data set differ as much from all."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One feature of a job beside that of the model's test."""

    feature: str
    expected: NDArray[np.float64]
    """Share of the test images by bin."""
    found: NDArray[np.float64]
    """Share of the job's images by bin."""
    images: int
    """Images of the job that were looked at."""
    distance: float
    """Total variation distance, 0 to 1."""
    chance: float
    """What chance alone exceeds in fewer jobs than `FALSE_ALARMS`."""

    @property
    def drifted(self) -> bool:
        """Whether it is worth a warning."""
        return self.distance > max(self.chance, SMALLEST_DRIFT)


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What was counted of a job, in the bins of the baseline."""

    classes: IntArray
    scores: IntArray
    pixels: dict[str, IntArray]


def compare(baseline: Baseline, observed: Observed) -> list[Comparison]:
    """Compare all features, the classes and scores first; those of no image are left out."""
    pairs = {
        "predicted classes": (np.array(baseline.classes), observed.classes),
        "scores": (np.array(baseline.scores.counts), observed.scores),
        **{
            name: (np.array(histogram.counts), observed.pixels[name])
            for name, histogram in baseline.pixels.items()
            if name in observed.pixels
        },
    }
    known = {name: pair for name, pair in pairs.items() if pair[0].sum() and pair[1].sum()}
    return [
        compare_counts(name, expected, found, FALSE_ALARMS / len(known))
        for name, (expected, found) in known.items()
    ]


def compare_counts(
    feature: str, expected: IntArray, found: IntArray, false_alarms: float
) -> Comparison:
    """Compare two histograms with the same bins."""
    m, n = int(expected.sum()), int(found.sum())
    p, q = expected / m, found / n
    pooled = (expected + found) / (m + n)
    variance = 1 / m + 1 / n
    average = float(np.sqrt(pooled * (1 - pooled) * variance).sum()) / 2
    beyond = math.sqrt(math.log(1 / false_alarms) * variance / 2)
    return Comparison(
        feature=feature,
        expected=p,
        found=q,
        images=n,
        distance=float(np.abs(p - q).sum()) / 2,
        chance=min(1.0, average + beyond),
    )
