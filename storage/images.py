"""The one way from image bytes to a model's pixels, for training and prediction alike."""

import io
import struct
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from storage.errors import ImageError
from storage.interpolation import INTERPOLATIONS
from storage.preprocessing import DEFAULT, Preprocessing

SUFFIXES_OF = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
}
"""How files of each format are called, by Pillow's name of it: a line more is a format more."""
FORMATS = tuple(SUFFIXES_OF)
SUFFIXES = frozenset(suffix for suffixes in SUFFIXES_OF.values() for suffix in suffixes)
MODE_OF_CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}

Shape = tuple[int, int, int]
Pixels = NDArray[np.uint8]


def decode_image(
    content: bytes,
    shape: Shape,
    preprocessing: Preprocessing = DEFAULT,
    *,
    max_pixels: int = 50_000_000,
) -> Pixels:
    """Decode one PNG, JPEG, BMP, GIF or WebP file to uint8 pixels of `shape` (H, W, C).

    The image is turned upright (EXIF), converted to grey, RGB or RGBA and resized when needed.
    Raises `ImageError`, whose message is the reason for the record.
    """
    try:
        with (
            # Pillow warns of large images, odd palettes, torn EXIF: what matters is checked below.
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(content), formats=FORMATS) as image,
        ):
            width, height = image.size
            if width * height > max_pixels:
                raise ImageError(f"too many pixels: {width} x {height}, the limit is {max_pixels}")
            if preprocessing.interpolation == "antialias":
                image.draft(None, (shape[1], shape[0]))  # JPEG decodes at a fraction of its size
            image.load()
            return fit_image(ImageOps.exif_transpose(image), shape, preprocessing)
    except UnidentifiedImageError:
        raise ImageError("not an image of a supported format (PNG, JPEG, BMP, GIF, WebP)") from None
    except Image.DecompressionBombError:
        raise ImageError(f"too many pixels: the limit is {max_pixels}") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        # What Pillow raises for damaged files, by format and depth of the damage.
        raise ImageError(f"damaged image: {error}") from None


def fit_pixels(
    pixels: NDArray[np.generic], shape: Shape, preprocessing: Preprocessing = DEFAULT
) -> Pixels:
    """Bring uint8 pixels (H, W) or (H, W, C) of another size or channel count to `shape`."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or not pixels.size:
        raise ImageError(f"not uint8 pixels (H, W) or (H, W, C): {pixels.dtype} {pixels.shape}")
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    try:
        return fit_image(Image.fromarray(np.ascontiguousarray(pixels)), shape, preprocessing)
    except TypeError:
        raise ImageError(f"no image has the shape {pixels.shape}") from None


def fit_image(image: Image.Image, shape: Shape, preprocessing: Preprocessing) -> Pixels:
    """Convert a decoded image to uint8 pixels of `shape` (H, W, C)."""
    height, width, channels = shape
    mode = MODE_OF_CHANNELS.get(channels)
    if mode is None:
        raise ImageError(f"the model takes {channels} channels; images have 1, 3 or 4")
    if image.mode.startswith("I"):  # 16 bits a pixel: convert() would clip at 255
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype("u1"))
    if image.mode != mode:
        image = image.convert(mode)
    if image.size != (width, height):
        if preprocessing.interpolation == "antialias":
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        else:
            pixels = np.asarray(image).reshape(*reversed(image.size), channels)
            return INTERPOLATIONS[preprocessing.interpolation](pixels, height, width)
    return np.asarray(image, dtype=np.uint8).reshape(shape)
