"""PNG pictures of fewer or more than eight bits a value, brought to eight."""

import io

import numpy as np
from PIL import Image

from imaging.decoding.bit_depth import Deep, image_of, join_bytes, shallow
from imaging.decoding.chunks import png_chunks

GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6
"""Types of colour in PNG."""
LOWER_BYTES = {RGB: "RGB;16L", RGBA: "RGBA;16L", GREY_ALPHA: "RGBA"}
"""Pillow keeps the upper byte of each value; told of another order of bytes, it keeps the lower."""


def eight_bits_of_png(content: bytes, image: Image.Image) -> Image.Image:
    """The loaded image of this file with eight bits a value."""
    depth, colour = content[24:26]
    transparent = image.info.get("transparency")
    if depth == 16:
        values = read_values(content, image, colour)
        colours = values.shape[2] - (colour in (GREY_ALPHA, RGBA))
        sbit = next((chunk.content for chunk in png_chunks(content) if chunk.name == b"sBIT"), b"")
        pixels = shallow(values, colours, max(sbit[:colours], default=0))
        if transparent is not None:
            opaque = (values != transparent).any(axis=2, keepdims=True)
            pixels = np.concatenate([pixels[..., :colours], opaque * np.uint8(255)], axis=2)
        return image_of(pixels)
    if colour == GREY and 1 < depth < 8 and transparent is not None:
        # Pillow makes the pixels brighter, but not the value that stands for transparent ones.
        image.info["transparency"] = transparent * (255 // (2**depth - 1))
    return image


def read_values(content: bytes, image: Image.Image, colour: int) -> Deep:
    """All bits of a loaded picture, (H, W, C)."""
    if colour == GREY:
        return np.asarray(image).astype(np.uint16)[..., None]
    with Image.open(io.BytesIO(content), formats=["PNG"]) as again:
        again.tile = [tile._replace(args=LOWER_BYTES[colour]) for tile in again.tile]
        lower = np.asarray(again)
    upper = np.asarray(image)
    if colour == GREY_ALPHA:
        upper, lower = upper[..., [0, 3]], lower[..., [1, 3]]
    return join_bytes(upper, lower)
