"""Could it be chance? Exact tests and intervals of counts."""

import math
from collections.abc import Sequence

import numpy as np

Z = 1.959964
"""Of the normal distribution, for intervals of 95 %."""


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


def at_least_among(count: int, chances: Sequence[float]) -> float:
    """Probability that `count` or more of some events happen, each with its own chance, 0 to 1."""
    happen = np.ones(1)
    for chance in chances:
        happen = np.convolve(happen, [1 - chance, chance])
    return min(1.0, float(happen[count:].sum()))


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval for the share of right ones among `count` > 0, 0 to 1."""
    share, z2 = right / count, Z * Z
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)
