"""What authors do with pixels from 0 to 255, by hand."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
SCALES: Mapping[str, Callable[[Floats], Any]] = {
    "none": lambda pixels: pixels,
    "-1..1": lambda pixels: pixels / 127.5 - 1,
    "imagenet": lambda pixels: (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
    "caffe": lambda pixels: pixels[..., ::-1] - [103.939, 116.779, 123.68],
}


def scaled(pixels: Floats, scale: str) -> Floats:
    """Of images (N, H, W, 3) in RGB."""
    floats: Floats = np.ascontiguousarray(SCALES[scale](pixels), np.float32)
    return floats
