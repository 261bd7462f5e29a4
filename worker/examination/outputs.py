"""Is what a version gives one probability per class?"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ROUNDING = 0.01
"""How far probabilities may be from adding up to 1: a half-precision output rounds so much."""


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
    exact = output.astype(np.float64)
    if exact.min() < -ROUNDING or float(np.abs(exact.sum(axis=1) - 1).max()) > ROUNDING:
        return (
            f"its outputs, from {exact.min():.3g} to {exact.max():.3g}, are no probabilities, "
            "which add up to 1."
        )
    return None
