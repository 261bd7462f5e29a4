"""Values of sixteen bits, brought to eight.

Files keep ten, twelve or fourteen bits of a sensor in sixteen: the upper eight of these would be
black, or nearly so.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DEPTHS = (8, 10, 12, 14, 16)
DEEP_GREY = ("I;16", "I;16B", "I;16L", "I;16N")
"""What Pillow calls grey of sixteen bits."""

Bytes = NDArray[np.uint8]
Deep = NDArray[np.uint16]


def join_bytes(upper: Bytes, lower: Bytes) -> Deep:
    """Values of which Pillow, which keeps one byte of each, was made to give both."""
    values: Deep = upper * np.uint16(256) + lower
    return values


def shallow(values: Deep, colours: int, significant: int = 0) -> Bytes:
    """Values (H, W, C) with eight bits; what comes behind the colours is alpha, of all sixteen."""
    alpha = (values[..., colours:] >> 8).astype(np.uint8)
    return np.concatenate([upper_bits(values[..., :colours], significant), alpha], axis=2)


def upper_bytes(image: Image.Image) -> Image.Image:
    """A loaded grey image whose values make use of all sixteen bits, with eight."""
    return image_of((np.asarray(image)[..., None] >> 8).astype(np.uint8))


def image_of(pixels: Bytes) -> Image.Image:
    """An image of pixels (H, W, C): L, LA, RGB or RGBA."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def upper_bits(values: Deep, significant: int) -> Bytes:
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
