"""Could it be chance? Exact tests of counts, and calibration."""

import math

import numpy as np
from numpy.typing import NDArray

BINS = 15
DRAWS = 200


def at_most(count: int, trials: int, chance: float) -> float:
    """Probability of `count` successes or fewer in `trials`, each with this chance, 0 to 1."""
    if count >= trials or chance <= 0:
        return 1.0
    if chance >= 1:
        return 0.0
    hit, miss = math.log(chance), math.log1p(-chance)
    whole = math.lgamma(trials + 1)
    return min(
        1.0,
        math.fsum(
            math.exp(
                whole
                - math.lgamma(k + 1)
                - math.lgamma(trials - k + 1)
                + k * hit
                + (trials - k) * miss
            )
            for k in range(count + 1)
        ),
    )


def at_least(count: int, trials: int, chance: float) -> float:
    """Probability of `count` successes or more."""
    return at_most(trials - count, trials, 1 - chance)


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided p of McNemar's exact test: is one of two paired error rates lower?

    Of the images that only one of the two has right, each has by chance an even share.
    """
    return min(1.0, 2 * at_most(min(gained, lost), gained + lost, 0.5))


def calibration_error(scores: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    """Expected calibration error, 0 to 1, of scores (N,) of the predicted classes.

    The mean distance between score and share of right predictions over 15 bins of equal width
    (Guo et al., On Calibration of Modern Neural Networks, 2017).
    """
    gaps = np.bincount(bin_of(scores), weights=right - scores.astype(np.float64))
    return float(np.abs(gaps).sum() / len(scores))


def reliability(
    scores: NDArray[np.floating], right: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean score and share of right predictions of each bin that is not empty."""
    bins = bin_of(scores)
    counts = np.bincount(bins)
    filled = np.flatnonzero(counts)
    means = (np.bincount(bins, weights=values)[filled] for values in (scores, right))
    score, share = (mean / counts[filled] for mean in means)
    return score, share


def calibration_by_chance(scores: NDArray[np.floating], alpha: float) -> float:
    """The error that perfectly calibrated scores (N,) exceed with probability `alpha` only."""
    generator = np.random.default_rng(1)
    draws = [
        calibration_error(scores, generator.random(len(scores)) < scores) for _ in range(DRAWS)
    ]
    return float(np.quantile(draws, 1 - alpha))


def bin_of(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Number of the bin (N,) that each score, 0 to 1, belongs to."""
    return np.clip((scores * BINS).astype(np.int64), 0, BINS - 1)
