"""Pixels of another size, as TensorFlow and therefore Keras compute them, without either.

Both sample between the centres of pixels, in single precision; neither filters when it shrinks.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Places = NDArray[np.intp]

HALF = np.float32(0.5)


def bilinear(pixels: Pixels, height: int, width: int) -> Pixels:
    """Pixels (H, W, C) as of `tf.image.resize(antialias=False)`, rounded half to even."""
    top, bottom, down = neighbours(pixels.shape[0], height)
    left, right, across = neighbours(pixels.shape[1], width)
    down, across = down[:, None, None], across[:, None]

    def line(rows: Places) -> Floats:
        lines = pixels[rows]
        return between(lines[:, left], lines[:, right], across)

    resized: Pixels = np.rint(between(line(top), line(bottom), down)).astype(np.uint8)
    return resized


def nearest(pixels: Pixels, height: int, width: int) -> Pixels:
    """Pixels (H, W, C) as of `tf.image.resize(method="nearest")`."""
    rows, columns = (
        np.minimum(centres(size, wanted).astype(np.intp), size - 1)
        for size, wanted in zip(pixels.shape, (height, width), strict=False)
    )
    return pixels[rows][:, columns]


INTERPOLATIONS: dict[str, Callable[[Pixels, int, int], Pixels]] = {
    "bilinear": bilinear,
    "nearest": nearest,
}


def centres(size: int, wanted: int) -> Floats:
    """Where the centres of `wanted` pixels lie on a side of `size` pixels."""
    scale = np.float32(size) / np.float32(wanted)
    return (np.arange(wanted, dtype=np.float32) + HALF) * scale


def neighbours(size: int, wanted: int) -> tuple[Places, Places, Floats]:
    """The pixels before and behind each of these centres, and how far it is from the first."""
    places = centres(size, wanted) - HALF
    floor = np.floor(places)
    before = np.maximum(floor, 0).astype(np.intp)
    behind = np.minimum(np.ceil(places), size - 1).astype(np.intp)
    return before, behind, places - floor


def between(start: NDArray[np.generic], end: NDArray[np.generic], part: Floats) -> Floats:
    """What lies at this part of the way from start to end."""
    first = start.astype(np.float32)
    return first + (end.astype(np.float32) - first) * part
