"""What every runtime makes of a model version."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from imaging.images import Pixels

Classify = Callable[[Pixels], tuple[NDArray[np.int32], NDArray[np.float32]]]
"""From pixels (N, H, W, C) to the index of the likeliest class (N,) and its probability (N,)."""
