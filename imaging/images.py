"""The one way from image bytes to a model's pixels, for training and prediction alike."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from imaging.bit_depth import eight_bits
from imaging.damage import check_whole
from imaging.errors import ImageError
from imaging.interpolation import resample
from imaging.jpegs import SIGNATURE, read_jpeg
from imaging.limits import MAX_PIXELS
from imaging.orientation import TURNS, metadata, orientation, read_rows, turned_size
from imaging.preprocessing import DEFAULT, Preprocessing

Image.MAX_IMAGE_PIXELS = None  # the limit is ours

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
FILTERS = {
    "antialias": Image.Resampling.BILINEAR,
    "antialias-bicubic": Image.Resampling.BICUBIC,
    "antialias-lanczos": Image.Resampling.LANCZOS,
}
MODE_OF_CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}

Shape = tuple[int, int, int]
Pixels = NDArray[np.uint8]


def decode_image(
    content: bytes,
    shape: Shape,
    preprocessing: Preprocessing = DEFAULT,
    *,
    max_pixels: int = MAX_PIXELS,
) -> Pixels:
    """Decode one PNG, JPEG, BMP, GIF or WebP file to uint8 pixels of `shape` (H, W, C).

    The image is turned upright (EXIF), brought to eight bits, converted to grey, RGB or RGBA and
    resized when needed. Raises `ImageError`, whose message is the reason for the record, whatever
    is wrong with the file.
    """
    with one_image():
        jpeg = read_jpeg(content) if content.startswith(SIGNATURE) else None
        file = io.BytesIO(content if jpeg is None else jpeg.picture)
        image: Image.Image
        with Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ImageError(
                    f"too many pixels: {width} x {height}, the limit is {max_pixels} "
                    "(BATCHSIGHT_MAX_IMAGE_PIXELS)"
                )
            if jpeg is not None:
                turn = orientation(jpeg.exif, jpeg.xmp)
                if preprocessing.interpolation in FILTERS:  # at a fraction of its size
                    image.draft(None, turned_size((shape[1], shape[0]), turn))
                elif shape[2] == 1:  # the luminance that is in the file, as Keras
                    image.draft("L", None)
                image.load()
            else:
                check_whole(content, image)
                image.load()  # of PNG the metadata as well: they may stand behind the pixels
                turn = orientation(*metadata(image))
            if image.format == "PNG":
                image = eight_bits(content, image)
            return fit_image(image, shape, preprocessing, turn)


@contextmanager
def one_image() -> Iterator[None]:
    """Whatever one image raises becomes an `ImageError`; what Pillow warns of is checked here."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not an image of a supported format (PNG, JPEG, BMP, GIF, WebP)") from None
    except MemoryError:
        raise ImageError("too large for the memory of this machine") from None
    except Exception as error:
        from celery.exceptions import SoftTimeLimitExceeded  # slow to import, and seldom needed

        if isinstance(error, SoftTimeLimitExceeded):
            raise
        raise ImageError(f"damaged image: {str(error) or type(error).__name__}") from None


def fit_pixels(
    pixels: NDArray[np.generic], shape: Shape, preprocessing: Preprocessing = DEFAULT
) -> Pixels:
    """Bring uint8 pixels (H, W) or (H, W, C) of another size or channel count to `shape`."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or not pixels.size:
        raise ImageError(f"not uint8 pixels (H, W) or (H, W, C): {pixels.dtype} {pixels.shape}")
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim == 3 and pixels.shape[-1] not in MODE_OF_CHANNELS:
        raise ImageError(f"no image has the shape {pixels.shape}")
    with one_image():
        return fit_image(Image.fromarray(np.ascontiguousarray(pixels)), shape, preprocessing)


def fit_image(
    image: Image.Image, shape: Shape, preprocessing: Preprocessing, turn: int = 1
) -> Pixels:
    """Convert a decoded image of eight bits to uint8 pixels of `shape` (H, W, C).

    `turn` is its orientation as in EXIF.
    """
    height, width, channels = shape
    mode = MODE_OF_CHANNELS.get(channels)
    if mode is None:
        raise ImageError(f"the model takes {channels} channels; images have 1, 3 or 4")
    if preprocessing.background is not None and mode != "RGBA" and image.has_transparency_data:
        image = over(preprocessing.background, image)
    if image.mode != mode:
        image = image.convert(mode)
    size = turned_size(image.size, turn)
    if size == (width, height) or preprocessing.interpolation in FILTERS:
        if turn in TURNS:
            image = image.transpose(TURNS[turn])
        if size != (width, height):
            image = image.resize((width, height), FILTERS[preprocessing.interpolation])
        return np.asarray(image, dtype=np.uint8).reshape(shape)
    return resample(
        lambda rows: read_rows(image, rows, turn),
        (size[1], size[0]),
        (height, width),
        preprocessing.interpolation,
    )


def over(background: tuple[int, int, int], image: Image.Image) -> Image.Image:
    """A transparent image before this colour, in RGB."""
    whole = Image.new("RGBA", image.size, (*background, 255))
    whole.alpha_composite(image.convert("RGBA"))
    return whole.convert("RGB")
