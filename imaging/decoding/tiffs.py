"""The first page of a TIFF file, brought to eight bits a value."""

import numpy as np
from PIL import Image

from imaging.decoding.bit_depth import upper_bits
from imaging.errors import ImageError

DEEP = ("I;16", "I;16B", "I;16L", "I;16N")
UNKNOWN_RANGE = {"I": "32 bits", "F": "floating point"}
WHITE_IS_ZERO = 0
PHOTOMETRIC, SIGNIFICANT_BITS = 262, 258


def eight_bits_of_tiff(image: Image.Image) -> Image.Image:
    """A loaded picture with eight bits a value; raises `ImageError` for those of no known range.

    Pillow keeps the upper half of colours of sixteen bits, and has turned the picture upright.
    """
    if image.mode in UNKNOWN_RANGE:
        raise ImageError(
            f"its values are of {UNKNOWN_RANGE[image.mode]}, whose range is not known: convert it "
            "to 8 or 16 bits"
        )
    if image.mode not in DEEP:
        return image
    values = np.asarray(image).astype(np.uint16)[..., None]
    pixels = upper_bits(values, 0)[..., 0]
    tags = getattr(image, "tag_v2", {})
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        pixels = 255 - pixels
    return Image.fromarray(pixels)
