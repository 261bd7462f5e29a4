"""Which arrays are images, and which are not: type and shape."""

from typing import Any

import numpy as np

from imaging.images import Shape
from producer.errors import EmptySource, SourceError
from producer.sources.arrays import Reader
from producer.sources.source import Request

CHANNELS = (1, 3, 4)
"""Grey, RGB, RGBA."""
MOST_CHANNELS = max(CHANNELS)


def as_images(name: str, array: Reader, request: Request) -> tuple[Reader, list[str]]:
    """The array as images (N, H, W) or (N, H, W, C), and what the user should know of that.

    A single image (H, W, C) becomes one row. Raises `SourceError` for what is no images.
    """
    check_type(name, array.dtype)
    shape = array.shape
    if len(shape) in (3, 4) and 0 in shape:
        raise EmptySource(f"{name} holds no images: there is nothing to classify.")
    if len(shape) == 3:
        return as_one_or_many(name, array, request.shape)
    if len(shape) != 4:
        raise SourceError(
            f"{name} has the shape {shape}: images are (N, H, W) or (N, H, W, C), a single grey "
            "one becomes such with x[np.newaxis], rows of pixels with x.reshape(-1, H, W)."
        )
    check_channels(name, shape, request.shape)
    return array, []


def check_type(name: str, dtype: np.dtype[Any]) -> None:
    """Raise `SourceError` unless an array is uint8."""
    if dtype == np.uint8:
        return
    if dtype.hasobject:
        raise SourceError(
            f"{name} holds Python objects: images of one size go together with "
            "np.stack(list(x)), images of several sizes are submitted as files."
        )
    match dtype.kind:
        case "f":
            way = "x.round().astype('uint8'), of x * 255 where pixels go from 0 to 1"
        case "b":
            way = "x * np.uint8(255)"
        case "i" | "u" if dtype.itemsize == 2:
            way = "x.astype('uint8'), of x >> 8 where pixels have 16 bits"
        case "i" | "u":
            way = "x.astype('uint8')"
        case _:
            raise SourceError(f"{name} holds {dtype}, which are no pixels: give 0 to 255 as uint8.")
    raise SourceError(f"{name} holds {dtype}: give pixels of 0 to 255 as uint8, {way}.")


def as_one_or_many(name: str, array: Reader, model: Shape) -> tuple[Reader, list[str]]:
    """A three-dimensional array as one image (H, W, C) or as grey images (N, H, W).

    What the model takes decides; of other arrays the last axis: one as wide as there are channels
    is no width, unless the images were tiny. What could be meant otherwise is said.
    """
    a, b, c = array.shape
    if (b, c, 1) == model:
        return array, []
    if array.shape == model:
        return array.as_one(), []
    if c in CHANNELS and b > 2 * c:
        note = f"is taken as one image; as {a} grey ones of {b} x {c} give x[..., np.newaxis]"
        return array.as_one(), [f"{name} has the shape {array.shape} and {note}."]
    if c == 2 and b > 2 * c:
        raise SourceError(
            f"{name} has the shape {array.shape}, which looks like one image of 2 channels: images "
            f"have 1 (grey), 3 (RGB) or 4 (RGBA). Of grey with transparency, x[..., :1] is the "
            f"grey; {a} grey images of {b} x 2 are x[..., np.newaxis]."
        )
    if c in CHANNELS:
        return array, [
            f"{name} has the shape {array.shape} and is taken as {a} grey images of {b} x {c}; as "
            "one image in colour give x[np.newaxis]."
        ]
    if a == model[2] and a in CHANNELS[1:]:
        return array, [
            f"{name} has the shape {array.shape} and is taken as {a} grey images of {b} x {c}; one "
            "with its channels first becomes np.transpose(x, (1, 2, 0))."
        ]
    return array, []


def check_channels(name: str, shape: tuple[int, ...], model: Shape) -> None:
    """Raise `SourceError` unless images (N, H, W, C) have the channels of images.

    What is exactly what the model takes may have any.
    """
    if shape[3] in CHANNELS or shape[1:] == model:
        return
    if shape[1] <= MOST_CHANNELS < shape[3]:
        raise SourceError(
            f"{name} has the shape {shape}, with its channels first: put them last with "
            "np.transpose(x, (0, 2, 3, 1))."
        )
    few = "; of grey with transparency, x[..., :1] is the grey" if shape[3] == 2 else ""
    raise SourceError(
        f"{name} has the shape {shape}, which is {shape[3]} channels: images have 1 (grey), "
        f"3 (RGB) or 4 (RGBA){few}."
    )
