"""Pixels of another size as TensorFlow, and therefore Keras, computes them; but without it.

None of these filters: they sample a large picture here and there. Places and weights are in single
precision, as there; where a colour lies halfway between two, the even one is taken.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Places = NDArray[np.intp]
Taps = tuple[Places, Floats]
"""Which pixels of a side make up each of the wanted ones, and their weights: both (wanted, n)."""

HALF = np.float32(0.5)
STEPS_OF_BICUBIC = np.float32(1024)
"""TensorFlow looks the weights of `bicubic` up in a table of as many places between two pixels."""
ROWS_AT_ONCE = 256
"""Memory must not grow with the picture more than the picture itself does."""


def resample(
    read_rows: Callable[[Places], Pixels],
    size: tuple[int, int],
    wanted: tuple[int, int],
    interpolation: str,
) -> Pixels:
    """Pixels (H, W, C) of the wanted size, from a picture of `size` (h, w).

    `read_rows` gives the pixels (n, w, C) of these rows of it.
    """
    taps = TAPS[interpolation]
    rows, down = taps(size[0], wanted[0])
    columns, across = taps(size[1], wanted[1])
    needed, places = np.unique(rows, return_inverse=True)
    lines = np.concatenate(
        [
            squeezed(read_rows(needed[start : start + ROWS_AT_ONCE]), columns, across)
            for start in range(0, len(needed), ROWS_AT_ONCE)
        ]
    )
    resized = combined((lines[row] for row in places.T), down[:, :, None])
    np.rint(resized, out=resized)
    return resized.clip(0, 255, out=resized).astype(np.uint8).reshape(*wanted, -1)


def squeezed(pixels: Pixels, columns: Places, weights: Floats) -> Floats:
    """Rows (n, w, C) at their wanted width, one number after the other: (n, W * C)."""
    count, width, channels = pixels.shape
    numbers = pixels.reshape(count, width * channels)
    # Single numbers are gathered much faster than rows of three.
    at = (columns[:, None] * channels + np.arange(channels)[:, None]).reshape(-1, columns.shape[1])
    taps = (numbers.take(each, axis=1) for each in at.T)
    return combined(taps, np.repeat(weights, channels, axis=0))


def combined(pixels: Iterable[NDArray[np.generic]], weights: Floats) -> Floats:
    """The weighted sum of the pixels of each tap; of two what lies between them, as TensorFlow."""
    first, *others = (each.astype(np.float32) for each in pixels)
    match others:
        case []:
            return first
        case [second]:
            second -= first
            second *= weights[:, 1]
            second += first
            return second
        case _:
            total = first * weights[:, 0]
            for k, each in enumerate(others, 1):
                total += each * weights[:, k]
            return total


def nearest(size: int, wanted: int) -> Taps:
    """The one pixel in which the wanted one has its centre."""
    places = np.floor(centres(size, wanted))[:, None]
    return within(places, size), np.ones_like(places)


def bilinear(size: int, wanted: int) -> Taps:
    """The two pixels around, each by how near it is."""
    centre = centres(size, wanted) - HALF
    before = np.floor(centre)
    part = centre - before
    places = np.stack([before, np.ceil(centre)], axis=1)
    return within(places, size), np.stack([1 - part, part], axis=1)


def bicubic(size: int, wanted: int) -> Taps:
    """The four pixels around, by the cubic of Keys."""
    centre = centres(size, wanted) - HALF
    before = np.floor(centre)
    part = np.rint((centre - before) * STEPS_OF_BICUBIC) / STEPS_OF_BICUBIC
    places = before[:, None].astype(np.intp) + np.arange(-1, 3)
    return normal(places, keys(np.arange(-1, 3) - part[:, None]), size)


def area(size: int, wanted: int) -> Taps:
    """All pixels that a wanted one covers, each by how much of it."""
    scale = np.float32(size) / np.float32(wanted)
    edges = np.arange(wanted + 1).astype(np.float32) * scale
    start, end = edges[:-1, None], edges[1:, None]
    first = np.floor(start).astype(np.intp)
    places = first + np.arange(int((np.ceil(end) - first).max()))
    covered = np.minimum(places + 1, end) - np.maximum(places, start)
    return within(places, size), (np.maximum(covered, 0) / scale).astype(np.float32)


def kernel(radius: int, weigh: Callable[[Floats], Floats]) -> Callable[[int, int], Taps]:
    """The pixels within this radius, each by its distance."""

    def taps(size: int, wanted: int) -> Taps:
        centre = centres(size, wanted)[:, None]
        first = np.ceil(centre - np.float32(radius) - HALF).astype(np.intp)
        places = first + np.arange(2 * radius + 1)
        return normal(places, weigh(np.abs(places.astype(np.float32) + HALF - centre)), size)

    return taps


def keys(distance: Floats) -> Floats:
    """The cubic of Keys, whose a is -0.5."""
    x = np.abs(distance)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.select([x < 1, x < 2], [near, far])


def mitchell(x: Floats) -> Floats:
    """The cubic of Mitchell and Netravali, whose B and C are 1/3."""
    near = (7 / 6 * x - 2) * x * x + 8 / 9
    far = ((-7 / 18 * x + 2) * x - 10 / 3) * x + 16 / 9
    return np.select([x < 1, x < 2], [near, far])


def lanczos(radius: int) -> Callable[[int, int], Taps]:
    """The sinc within a wider sinc."""
    return kernel(
        radius, lambda x: np.where(x <= radius, np.sinc(x) * np.sinc(x / np.float32(radius)), 0)
    )


TAPS: Mapping[str, Callable[[int, int], Taps]] = {
    "nearest": nearest,
    "bilinear": bilinear,
    "bicubic": bicubic,
    "area": area,
    "lanczos3": lanczos(3),
    "lanczos5": lanczos(5),
    "mitchellcubic": kernel(2, mitchell),
}


def centres(size: int, wanted: int) -> Floats:
    """Where the centres of `wanted` pixels lie on a side of `size` pixels."""
    scale = np.float32(size) / np.float32(wanted)
    return (np.arange(wanted).astype(np.float32) + HALF) * scale


def normal(places: Places, weights: Floats, size: int) -> Taps:
    """Taps whose weights add up to one, without those beyond the edges."""
    inside = np.where((places >= 0) & (places < size), weights, 0)
    return within(places, size), (inside / inside.sum(axis=1, keepdims=True)).astype(np.float32)


def within(places: NDArray[np.generic], size: int) -> Places:
    """The same places, or the edge where they lie beyond it."""
    inside: Places = np.clip(places, 0, size - 1).astype(np.intp)
    return inside
