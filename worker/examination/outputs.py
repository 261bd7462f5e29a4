"""Is what a version gives one probability per class?"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ROUNDING = 0.01
"""How far probabilities may be from adding up to 1: a half-precision output rounds so much."""


def are_probabilities(output: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which rows (N,) of an output (N, classes) are finite, not negative and add up to 1."""
    with np.errstate(invalid="ignore"):  # infinities of both signs
        sums = np.einsum("ij->i", output)  # faster than `sum(axis=1)`, and without BLAS's threads
        good: NDArray[np.bool_] = np.abs(sums - 1) <= ROUNDING  # NaN is not
    if output.size and not output.min() >= -ROUNDING:
        good &= (output >= -ROUNDING).all(axis=1)
    return good


def find_fault(outputs: Sequence[NDArray[np.floating]], classes: int) -> str | None:
    """Why these outputs for two images are not `classes` probabilities each, if they are not."""
    if len(outputs) != 1:
        return f"it has {len(outputs)} outputs, and only the probabilities are needed."
    (output,) = outputs
    if output.shape != (2, classes):
        return (
            f"its output for two images has the shape {output.shape}, "
            f"where {classes} classes need (2, {classes})."
        )
    if not np.isfinite(output).all():
        return "its output is not finite."
    if not are_probabilities(output.astype(np.float64)).all():
        return (
            f"its outputs, from {output.min():.3g} to {output.max():.3g}, are no probabilities, "
            "which add up to 1."
        )
    return None
