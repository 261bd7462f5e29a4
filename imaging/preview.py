"""What can be seen of a file that cannot be classified: half a photograph, say."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageFile, ImageOps

from imaging.decoding.formats import formats_for
from imaging.errors import ImageError
from imaging.images import Pixels, one_image

EIGHT_BITS = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
"""Modes of Pillow of which RGB can be made without a choice of what is white."""


def preview(content: bytes, side: int, *, max_pixels: int) -> Pixels | None:
    """Small upright pixels (H, W, 3), of `side` at most; none if nothing can be seen."""
    try:
        with one_image(), damage_allowed():
            image: Image.Image = Image.open(io.BytesIO(content), formats=formats_for(content))
            if image.width * image.height > max_pixels:
                return None
            image.draft("RGB", (side, side))
            image.load()
            if image.mode not in EIGHT_BITS:
                return None
            image = ImageOps.exif_transpose(image).convert("RGB")
            image.thumbnail((side, side))
            return np.asarray(image)
    except ImageError:
        return None


@contextmanager
def damage_allowed() -> Iterator[None]:
    """Let Pillow load what there is of a file; it knows this for a whole process only."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
