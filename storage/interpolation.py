"""Pixels of another size as TensorFlow, and therefore Keras, computes them; but without it.

None of these filters: they sample a large picture here and there. Places and weights are in single
precision, as there; where a colour lies halfway between two, the even one is taken.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Places = NDArray[np.intp]
Resample = Callable[[Pixels, int, int], Pixels]
Taps = tuple[Places, Floats]
"""Which pixels of a side make up each of the wanted ones, and their weights: both (wanted, n)."""

HALF = np.float32(0.5)
STEPS_OF_BICUBIC = np.float32(1024)
"""TensorFlow looks the weights of `bicubic` up in a table of as many places between two pixels."""


def nearest(pixels: Pixels, height: int, width: int) -> Pixels:
    """Pixels (H, W, C) as of `tf.image.resize(method="nearest")`, bit for bit."""
    rows = within(np.floor(centres(pixels.shape[0], height)), pixels.shape[0])
    columns = within(np.floor(centres(pixels.shape[1], width)), pixels.shape[1])
    return pixels[rows][:, columns]


def bilinear(pixels: Pixels, height: int, width: int) -> Pixels:
    """Pixels (H, W, C) as of `tf.image.resize(method="bilinear")`, bit for bit."""
    top, bottom, down = neighbours(pixels.shape[0], height)
    left, right, across = neighbours(pixels.shape[1], width)

    def line(rows: Places) -> Floats:
        lines = pixels[rows]
        return between(lines[:, left], lines[:, right], across[:, None])

    return rounded(between(line(top), line(bottom), down[:, None, None]))


def weighted(taps: Callable[[int, int], Taps]) -> Resample:
    """The way to another size that adds up pixels (H, W, C) by these weights."""

    def resample(pixels: Pixels, height: int, width: int) -> Pixels:
        columns, across = taps(pixels.shape[1], width)
        rows, down = taps(pixels.shape[0], height)
        lines = np.zeros((len(pixels), width, pixels.shape[2]), np.float32)
        for column, weight in zip(columns.T, across.T, strict=True):
            lines += pixels[:, column] * weight[:, None]
        resized = np.zeros((height, width, pixels.shape[2]), np.float32)
        for row, weight in zip(rows.T, down.T, strict=True):
            resized += lines[row] * weight[:, None, None]
        return rounded(resized)

    return resample


def area(size: int, wanted: int) -> Taps:
    """All pixels that a wanted one covers, each by how much of it."""
    scale = np.float32(size) / np.float32(wanted)
    edges = np.arange(wanted + 1).astype(np.float32) * scale
    start, end = edges[:-1, None], edges[1:, None]
    first = np.floor(start).astype(np.intp)
    places = first + np.arange(int((np.ceil(end) - first).max()))
    covered = np.minimum(places + 1, end) - np.maximum(places, start)
    return within(places, size), (np.maximum(covered, 0) / scale).astype(np.float32)


def bicubic(size: int, wanted: int) -> Taps:
    """Four pixels, by the cubic of Keys."""
    centre = centres(size, wanted) - HALF
    before = np.floor(centre)
    part = np.rint((centre - before) * STEPS_OF_BICUBIC) / STEPS_OF_BICUBIC
    places = before[:, None].astype(np.intp) + np.arange(-1, 3)
    return normal(places, keys(np.arange(-1, 3) - part[:, None]), size)


def kernel(radius: int, weigh: Callable[[Floats], Floats]) -> Callable[[int, int], Taps]:
    """The pixels within this radius, weighed by their distance."""

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


RESAMPLES: Mapping[str, Resample] = {
    "nearest": nearest,
    "bilinear": bilinear,
    "bicubic": weighted(bicubic),
    "area": weighted(area),
    "lanczos3": weighted(lanczos(3)),
    "lanczos5": weighted(lanczos(5)),
    "mitchellcubic": weighted(kernel(2, mitchell)),
}


def centres(size: int, wanted: int) -> Floats:
    """Where the centres of `wanted` pixels lie on a side of `size` pixels."""
    scale = np.float32(size) / np.float32(wanted)
    return (np.arange(wanted).astype(np.float32) + HALF) * scale


def neighbours(size: int, wanted: int) -> tuple[Places, Places, Floats]:
    """The pixels before and behind each of these centres, and how far it is from the first."""
    places = centres(size, wanted) - HALF
    floor = np.floor(places)
    return within(floor, size), within(np.ceil(places), size), places - floor


def between(start: NDArray[np.generic], end: NDArray[np.generic], part: Floats) -> Floats:
    """What lies at this part of the way from start to end."""
    first = start.astype(np.float32)
    return first + (end.astype(np.float32) - first) * part


def normal(places: Places, weights: Floats, size: int) -> Taps:
    """Taps whose weights add up to one, without those beyond the edges."""
    inside = np.where((places >= 0) & (places < size), weights, 0)
    return within(places, size), (inside / inside.sum(axis=1, keepdims=True)).astype(np.float32)


def within(places: NDArray[np.generic], size: int) -> Places:
    """The same places, or the edge where they lie beyond it."""
    inside: Places = np.clip(places, 0, size - 1).astype(np.intp)
    return inside


def rounded(values: Floats) -> Pixels:
    """The nearest colours."""
    return np.rint(values).clip(0, 255).astype(np.uint8)
