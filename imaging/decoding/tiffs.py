"""The first page of a TIFF file, brought to eight bits a value."""

import io
import sys

import numpy as np
from PIL import Image, TiffImagePlugin

from imaging.decoding.bit_depth import DEEP_GREY, Bytes, image_of, join_bytes, shallow
from imaging.errors import ImageError

TiffImagePlugin.READ_LIBTIFF = True  # Pillow's own reader takes planes of 16 bits for bytes

DEEP_COLOURS = ("RGB;16N", "RGBX;16N", "RGBA;16N")
"""What Pillow is told of the values that libtiff gives it, in the order of this machine's bytes."""
OTHER_ORDER = "B" if sys.byteorder == "little" else "L"
SUBFILE_TYPE, SIGNIFICANT_BITS, PHOTOMETRIC, PLANAR, SAMPLE_FORMAT = 254, 258, 262, 284, 339
REDUCED = 1
SIGNED = 2
WHITE_IS_ZERO = 0
IN_PLANES = 2
FEWER_BITS = 1 << 14
"""With a value as bright as this no picture is of a sensor's bits."""


def check_tiff(image: Image.Image) -> None:
    """Raise `ImageError` for an opened file of which no picture can be made."""
    tags = getattr(image, "tag_v2", {})
    if is_preview(image):
        raise ImageError(
            "its first picture is but a preview, as in raw photographs: convert it to JPEG or PNG"
        )
    if image.mode == "F":
        kind = "floating-point numbers"
    elif SIGNED in tags.get(SAMPLE_FORMAT, ()):
        kind = "signed numbers"
    elif image.mode == "I":
        kind = "numbers of 32 bits"
    else:
        return
    raise ImageError(f"its values are {kind}, whose range is not known: convert it to 8 or 16 bits")


def is_preview(image: Image.Image) -> bool:
    """Whether this page of an opened file is another one, smaller."""
    return bool(getattr(image, "tag_v2", {}).get(SUBFILE_TYPE, 0) & REDUCED)


def eight_bits_of_tiff(content: bytes, image: Image.Image) -> Image.Image:
    """The loaded picture of this file, which Pillow has turned upright, with eight bits a value."""
    tags = getattr(image, "tag_v2", {})
    if image.mode in DEEP_GREY:
        pixels = shallow(np.asarray(image).astype(np.uint16)[..., None], 1)
        return image_of(255 - pixels if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else pixels)
    if image.mode not in ("RGB", "RGBA") or 16 not in tags.get(SIGNIFICANT_BITS, ()):
        return image
    upper = np.asarray(image)
    if (upper[..., :3] >= FEWER_BITS >> 8).any():
        return image  # these are the upper eight of the bits that are used
    if tags.get(PLANAR) == IN_PLANES:
        raise ImageError("its planes may be of fewer than 16 bits: convert it to 8 bits")
    lower = lower_bytes(content)
    return image if lower is None else image_of(shallow(join_bytes(upper, lower), 3))


def lower_bytes(content: bytes) -> Bytes | None:
    """Of colours of sixteen bits the bytes that Pillow drops; none of those it multiplies."""
    with Image.open(io.BytesIO(content), formats=["TIFF"]) as again:
        (tile,) = again.tile
        if not isinstance(tile.args, tuple) or tile.args[0] not in DEEP_COLOURS:
            return None
        lower = tile.args[0].removesuffix("N") + OTHER_ORDER
        again.tile = [tile._replace(args=(lower, *tile.args[1:]))]
        return np.asarray(again)
