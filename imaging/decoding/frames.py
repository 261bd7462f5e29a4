"""Files of several pictures, pages or frames, of which the first counts."""

import io
import warnings
from contextlib import suppress

from PIL import Image

from imaging.decoding.formats import formats_for
from imaging.decoding.tiffs import is_preview

SEQUENCES = (b"avis", b"hevc", b"msf1")
"""What a file of AVIF or HEIC calls itself that is an animation."""


def holds_several(content: bytes) -> bool:
    """Whether a file has more than its first picture; previews and gain maps are none."""
    if not may_hold_several(content):
        return False
    with (
        suppress(Exception),
        warnings.catch_warnings(action="ignore"),
        Image.open(io.BytesIO(content), formats=formats_for(content)) as image,
    ):
        if getattr(image, "is_animated", False):
            image.seek(1)
            return not is_preview(image)
    return False


def may_hold_several(content: bytes) -> bool:
    """A first guess, as cheap as most folders need it to be."""
    match content[:4]:
        case b"\x89PNG":
            return b"acTL" in content[: content.find(b"IDAT")]
        case b"RIFF":
            return content[12:16] == b"VP8X" and bool(int.from_bytes(content[20:21]) & 2)
        case b"GIF8" | b"II*\0" | b"MM\0*" | b"II+\0" | b"MM\0+":
            return True
    return content[4:8] == b"ftyp" and content[8:12] in SEQUENCES


def describe_several(count: int) -> str:
    """The sentence about files of several pictures; empty when there are none."""
    if not count:
        return ""
    has, first = ("image has", "the first") if count == 1 else ("images have", "the first of each")
    return f"{count:,} {has} several pages or frames: {first} is taken."
