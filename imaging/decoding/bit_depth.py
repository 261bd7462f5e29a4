"""PNG pictures of fewer or more than eight bits a value, brought to eight.

Files keep ten, twelve or fourteen bits of a sensor in sixteen: the upper eight of these would be
black, or nearly so.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imaging.decoding.chunks import png_chunks

DEPTHS = (8, 10, 12, 14, 16)
GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6
"""Types of colour in PNG."""
LOWER_HALF = {RGB: "RGB;16L", RGBA: "RGBA;16L", GREY_ALPHA: "RGBA"}
"""Pillow keeps the upper half of each value; told of another order of bytes, it keeps the lower."""

Deep = NDArray[np.uint16]


def eight_bits(content: bytes, image: Image.Image) -> Image.Image:
    """The loaded image of this PNG file with eight bits a value."""
    depth, colour = content[24:26]
    if depth == 16:
        return shallow(content, image, colour)
    if colour == GREY and 1 < depth < 8 and "transparency" in image.info:
        # Pillow makes the pixels brighter, but not the value that stands for transparent ones.
        image.info["transparency"] *= 255 // (2**depth - 1)
    return image


def shallow(content: bytes, image: Image.Image, colour: int) -> Image.Image:
    """A loaded image of sixteen bits a value as one of eight: L, LA, RGB or RGBA."""
    values = read_values(content, image, colour)
    colours = values.shape[2] - (colour in (GREY_ALPHA, RGBA))
    sbit = next((chunk.content for chunk in png_chunks(content) if chunk.name == b"sBIT"), b"")
    pixels = upper_bits(values[..., :colours], max(sbit[:colours], default=0))
    alpha = (values[..., colours:] >> 8).astype(np.uint8)
    transparent = image.info.get("transparency")
    if transparent is not None:
        opaque = (values != transparent).any(axis=2, keepdims=True)
        alpha = opaque.astype(np.uint8) * np.uint8(255)
    whole = np.concatenate([pixels, alpha], axis=2)
    return Image.fromarray(whole[..., 0] if whole.shape[2] == 1 else whole)


def read_values(content: bytes, image: Image.Image, colour: int) -> Deep:
    """All bits of a loaded picture, (H, W, C)."""
    if colour == GREY:
        return np.asarray(image).astype(np.uint16)[..., None]
    with Image.open(io.BytesIO(content), formats=["PNG"]) as again:
        again.tile = [tile._replace(args=LOWER_HALF[colour]) for tile in again.tile]
        lower = np.asarray(again)
    upper = np.asarray(image)
    if colour == GREY_ALPHA:
        upper, lower = upper[..., [0, 3]], lower[..., [1, 3]]
    values: Deep = upper * np.uint16(256) + lower
    return values


def upper_bits(values: Deep, significant: int) -> NDArray[np.uint8]:
    """The upper eight of the bits that are used.

    These are as many as the file says are significant, if they hold the brightest value; else the
    fewest of the usual depths that do. But all sixteen are, however dark the picture, where eight
    bits were spread over them: with zeros below, or doubled.
    """
    brightest = int(values.max()).bit_length()
    bits = next(bits for bits in (significant, *DEPTHS) if bits >= brightest)
    if not (values & 0xFF).any() or not (values % 257).any():
        bits = 16
    return (values >> max(0, bits - 8)).astype(np.uint8)
