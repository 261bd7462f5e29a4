"""Embedded colour profiles: a picture in other colours than sRGB, a telephone's P3 say, becomes it.

What a profile means is measured, not read from its name: one that changes no colour visibly is
sRGB, and pictures with it keep their pixels bit for bit. One that is broken, or made for another
kind of picture than it stands in, is no profile.
"""

import io
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""How Pillow calls the colours that a profile is for."""
OPAQUE = {"P": "RGB", "PA": "RGB", "RGBA": "RGB", "RGBX": "RGB", "LA": "L"}
"""The same colours without palette and transparency."""
MOST_BYTES = 4_000_000
"""Of a profile; those of printers have up to some two million."""
INVISIBLE = 3
"""Of 255: by so much copies of sRGB differ, which were rounded in many ways."""
SHADES = np.linspace(0, 255, 9).round().astype(np.uint8)
"""Those of red, green and blue that are tried."""


class Conversion(NamedTuple):
    """What brings pictures of one profile to sRGB."""

    mode: str
    transform: ImageCms.ImageCmsTransform

    def apply(self, image: Image.Image) -> Image.Image:
        """The colours of an image, its transparency dropped."""
        opaque = image.convert(self.mode)
        if self.mode == "L":  # shade by shade: exact transforms are slow
            shades = self._transformed(Image.frombytes("L", (256, 1), bytes(range(256))))
            return opaque.point(list(shades.convert("L").tobytes()))
        return self._transformed(opaque)

    def _transformed(self, image: Image.Image) -> Image.Image:
        transformed = ImageCms.applyTransform(image, self.transform)
        assert transformed is not None  # as only where it changes its argument
        return transformed

    def changes_colours(self) -> bool:
        """Whether any looks different afterwards."""
        grid = np.stack(np.meshgrid(SHADES, SHADES, SHADES), axis=-1).reshape(1, -1, 3)
        before = Image.fromarray(grid).convert(self.mode)
        after = self.apply(before).convert("RGB")
        difference = np.asarray(after, np.int16) - np.asarray(before.convert("RGB"), np.int16)
        return int(np.abs(difference).max()) > INVISIBLE


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """A loaded image of eight bits in sRGB: as it is where its profile asks for nothing else."""
    conversion = conversion_for(image.mode, profile)
    if conversion is None:
        return image
    converted = conversion.apply(image)
    if image.has_transparency_data:
        converted.putalpha(image.convert("RGBA").getchannel("A"))
    return converted


def conversion_for(mode: str, profile: bytes) -> Conversion | None:
    """What brings pictures of this mode to sRGB; none where nothing is to be done."""
    conversion = build(profile) if 0 < len(profile) <= MOST_BYTES else None
    return conversion if conversion and conversion.mode == OPAQUE.get(mode, mode) else None


@lru_cache(maxsize=8)
def build(profile: bytes) -> Conversion | None:
    """The conversion of a profile; the pictures of a job have mostly the same few."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = MODES[source.profile.xcolor_space]
        transform = ImageCms.buildTransform(
            source,
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            # Else a few shades of grey are taken, and the dark ones between them guessed.
            ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE,
        )
        conversion = Conversion(mode, transform)
        return conversion if conversion.changes_colours() else None
    except (ImageCms.PyCMSError, OSError, KeyError, ValueError):
        return None
