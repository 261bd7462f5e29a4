"""What images a network takes, told by its configuration before anybody loads it."""

import math
from pathlib import Path

from imaging.images import MODE_OF_CHANNELS, Shape
from storage.datasets.store import DataSet
from storage.models.architecture import Architecture
from trainer.errors import ImportFailed
from trainer.models.repair_scripts import rebuild

IMAGES = "images are height x width x channels"
RGBA = max(MODE_OF_CHANNELS)
SIZE = 224
"""Stands for a size that nobody but the user knows, in an example."""


def input_shape(architecture: Architecture, path: Path, dataset: DataSet | None) -> Shape:
    """Height, width and channels that a network takes, by its own word or that of a data set.

    Raises `ImportFailed` when that is no image, with what makes one of it where there is a way.
    """
    inputs = architecture.inputs
    if len(inputs) > 1:
        names = ", ".join(known.name for known in inputs)
        raise ImportFailed(
            f"{path} takes {len(inputs)} inputs ({names}), and only an image is given: "
            "save a model that has the others built in."
        )
    if not inputs:
        if dataset is None:
            raise of_unknown_size(path, 3)
        return dataset.description.shape
    declared = inputs[0].shape[1:]
    check_rank(declared, path)
    return check_shape(declared, path, dataset)


def check_rank(declared: tuple[int | None, ...], path: Path) -> None:
    """Refuse what has not three dimensions."""
    if len(declared) == 3:
        return
    problem = f"{path} takes {in_words(declared) or 'single'} numbers, and {IMAGES}"
    match declared:
        case [int(height), int(width)] if height and width:
            given, layer = (height, width, 1), f"Reshape(({height}, {width}))"
        case [int(numbers)] if side := side_of_square(numbers):
            given, layer = (side, side, numbers // side**2), "Flatten()"
        case _:
            raise ImportFailed(f"{problem}: it is no model for images.")
    raise ImportFailed(
        f"{problem}. If it was trained on images, give it them:"
        + rebuild(path, given, [f"answer = model(keras.layers.{layer}(pixels))"])
    )


def check_shape(declared: tuple[int | None, ...], path: Path, dataset: DataSet | None) -> Shape:
    """Fill in what is open, and refuse channels that no image has."""
    match declared:
        case [int(first), second, third] if is_channels_first(first, second, third):
            turned = "answer = model(keras.layers.Permute((3, 1, 2))(pixels))"
            raise ImportFailed(
                f"{path} takes {in_words(declared)}, channels first, and {IMAGES}. "
                "Turn them at its start:"
                + rebuild(path, (second or SIZE, third or SIZE, first), [turned])
            )
    height, width, channels = declared
    if channels not in (*MODE_OF_CHANNELS, None):
        raise ImportFailed(
            f"{path} takes images of {channels} channels: images have 1 (grey), 3 (RGB) or 4 "
            "(RGBA)."
        )
    if dataset is None and None in declared:
        raise of_unknown_size(path, channels or 3)
    if dataset is not None:
        height, width, channels = (
            known if own is None else own
            for own, known in zip(declared, dataset.description.shape, strict=True)
        )
    assert height is not None and width is not None and channels is not None
    if height < 1 or width < 1:
        raise ImportFailed(f"{path} takes images of {height} x {width} pixels, which have none.")
    return height, width, channels


def is_channels_first(first: int, second: int | None, third: int | None) -> bool:
    """Whether these are channels, height and width, and cannot be height, width and channels."""
    sides = (second, third)
    return first in MODE_OF_CHANNELS and all(side is None or side > RGBA for side in sides)


def in_words(declared: tuple[int | None, ...]) -> str:
    """A shape, whose open dimensions are `any`."""
    return " x ".join("any" if n is None else str(n) for n in declared)


def of_unknown_size(path: Path, channels: int) -> ImportFailed:
    """The sentence for a network that takes any size: a version takes one."""
    return ImportFailed(
        f"{path} takes images of any size, and a version takes one: name a --dataset of such "
        f"images, or say the size, {SIZE} x {SIZE} for example:"
        + rebuild(path, (SIZE, SIZE, channels), ["answer = model(pixels)"])
    )


def side_of_square(numbers: int) -> int | None:
    """The side of the square grey or RGB image that has so many numbers."""
    for channels in (1, 3):
        side = math.isqrt(numbers // channels)
        if side > 1 and side * side * channels == numbers:
            return side
    return None
