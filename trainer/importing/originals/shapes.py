"""Which images a network takes, told by its file or its owner."""

import math
from collections.abc import Mapping
from pathlib import Path

from imaging.images import MODE_OF_CHANNELS, Shape
from storage.models.contract import Layout
from trainer.errors import ImportFailed

Declared = tuple[int | None, ...]
RGB = 3
RANKS: Mapping[Layout, int] = {"nhwc": 3, "nchw": 3, "nhw": 2, "flat": 1}
RANKS_IN_WORDS: Mapping[Layout, str] = {
    "nhwc": "height x width x channels",
    "nchw": "channels x height x width",
    "nhw": "height x width",
    "flat": "all numbers of an image in a row",
}
MOST_NUMBERS = 100_000_000
"""Of one image: a process with limits could not hold a few of larger ones."""


def layout_of(declared: Declared, path: Path, told: Layout | None) -> Layout:
    """How it takes them; raises `ImportFailed` where nothing tells."""
    if told:
        if len(declared) != RANKS[told]:
            raise ImportFailed(
                f"{path} takes {in_words(declared)}, and --layout {told} is for networks that take "
                f"{RANKS_IN_WORDS[told]}."
            )
        return told
    match declared:
        case [first, second, third]:
            front, back = could_be_channels(first, second), could_be_channels(third, second)
            if third in MODE_OF_CHANNELS and not (front and second != third):
                return "nhwc"
            if front and not back:
                return "nchw"
            if first is None and third is None:
                return "nhwc"
            if back:
                return "nhwc"
        case [_, _]:
            return "nhw"
        case [int()]:
            return "flat"
    raise ImportFailed(
        f"{path} takes {in_words(declared)}, and images are height x width x channels (nhwc) or "
        "channels x height x width (nchw): it is no model for images, or --layout tells which."
    )


def could_be_channels(count: int | None, side: int | None) -> bool:
    """Whether this is a number of channels beside such a side."""
    return count in MODE_OF_CHANNELS and (side is None or side > max(MODE_OF_CHANNELS))


def shape_of(
    declared: Declared,
    layout: Layout,
    path: Path,
    *,
    size: tuple[int, int] | None,
    known: Shape | None,
) -> Shape:
    """Height, width and channels.

    What the file leaves open comes from `size`, or is that of the images it is checked on.
    """
    height: int | None
    width: int | None
    channels: int | None
    match layout:
        case "nhwc":
            height, width, channels = triple(declared, path)
        case "nchw":
            channels, height, width = triple(declared, path)
        case "nhw":
            (height, width), channels = (declared[0], declared[1]), 1
        case "flat":
            height, width, channels = unfolded(declared[0], path, size, known)
    if channels not in (*MODE_OF_CHANNELS, None):
        raise ImportFailed(
            f"{path} takes images of {channels} channels: images have 1 (grey), 3 (RGB) or 4 "
            "(RGBA)."
        )
    for side, own, told in (("high", height, size and size[0]), ("wide", width, size and size[1])):
        if own and told and own != told:
            raise ImportFailed(f"{path} takes images {own} pixels {side}, whatever --size says.")
    height = height or (size[0] if size else known[0] if known else None)
    width = width or (size[1] if size else known[1] if known else None)
    if height is None or width is None:
        raise ImportFailed(
            f"{path} takes images of any size, and a version takes one: name that of its training, "
            "by --size 224 for example."
        )
    channels = channels or (known[2] if known else RGB)
    if height * width * channels > MOST_NUMBERS:
        raise ImportFailed(
            f"{path} would take images of {height:,} x {width:,} x {channels}: {MOST_NUMBERS:,} "
            "numbers an image is the most."
        )
    return height, width, channels


def triple(declared: Declared, path: Path) -> tuple[int | None, int | None, int | None]:
    """Three dimensions."""
    if len(declared) != 3:
        raise ImportFailed(
            f"{path} takes {in_words(declared)}, and images have three dimensions: it is no model "
            "for images."
        )
    first, second, third = declared
    return first, second, third


def unfolded(
    numbers: int | None, path: Path, size: tuple[int, int] | None, known: Shape | None
) -> tuple[int, int, int]:
    """The image that has so many numbers: as told, as known, or square."""
    if numbers is None:
        raise ImportFailed(f"{path} takes any number of numbers: it is no model for images.")
    if size and numbers % (size[0] * size[1]) == 0:
        return (*size, numbers // (size[0] * size[1]))
    if known and math.prod(known) == numbers:
        return known
    for channels in (1, RGB):
        side = math.isqrt(numbers // channels)
        if side > 1 and side * side * channels == numbers:
            return side, side, channels
    raise ImportFailed(
        f"{path} takes {numbers} numbers, which are no square image: name its --size, HEIGHTxWIDTH."
    )


def in_words(declared: Declared) -> str:
    """A shape, whose open dimensions are `any`."""
    return " x ".join("any" if n is None else str(n) for n in declared) or "single numbers"
