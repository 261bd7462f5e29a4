"""The one way from image bytes to a model's pixels, for training and prediction alike."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from imaging.decoding.bit_depth import DEEP_GREY, upper_bytes
from imaging.decoding.colour_profiles import conversion_for, to_srgb
from imaging.decoding.damage import check_whole
from imaging.decoding.formats import can_read_heic, formats_for, is_heic, why_not_opened
from imaging.decoding.jpegs import SIGNATURE, read_jpeg
from imaging.decoding.png_depth import eight_bits_of_png
from imaging.decoding.tiffs import check_tiff, eight_bits_of_tiff
from imaging.errors import ImageError
from imaging.geometry import Geometry, Window
from imaging.interpolation import resample
from imaging.limits import MAX_PIXELS
from imaging.orientation import TURNS, metadata, orientation, read_rows, turned_size
from imaging.preprocessing import DEFAULT, Colour, Preprocessing

Image.MAX_IMAGE_PIXELS = None  # the limit is ours

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
    """Decode an image file, its first picture, to uint8 pixels of `shape` (H, W, C).

    The image is turned upright (EXIF), brought to eight bits and sRGB, converted to grey, RGB or
    RGBA and resized when needed. Raises `ImageError`, whose message is the reason for the record,
    whatever is wrong with the file.
    """
    with one_image():
        if not content:
            raise ImageError("not an image but an empty file")
        jpeg = read_jpeg(content) if content.startswith(SIGNATURE) else None
        if is_heic(content) and not can_read_heic():
            raise ImageError("a HEIC image, which takes `pip install batchsight[heic]` to be read")
        file = io.BytesIO(content if jpeg is None else jpeg.picture)
        image: Image.Image
        try:
            image = Image.open(file, formats=formats_for(content))
        except UnidentifiedImageError:
            raise ImageError(why_not_opened(content)) from None
        with image:
            width, height = image.size
            if width * height > max_pixels:
                raise ImageError(
                    f"too many pixels: {width} x {height}, the limit is {max_pixels} "
                    "(BATCHSIGHT_MAX_IMAGE_PIXELS)"
                )
            profile = b""
            if preprocessing.colours == "srgb":
                profile = jpeg.profile if jpeg else image.info.get("icc_profile") or b""
            if jpeg is not None:
                turn = orientation(jpeg.exif, jpeg.xmp)
                if preprocessing.filters and preprocessing.scaled_decoding:
                    upright = turned_size(image.size, turn)
                    needed = Geometry.of(upright, (shape[1], shape[0]), preprocessing).size
                    image.draft(None, turned_size(needed, turn))
                elif shape[2] == 1 and conversion_for(image.mode, profile) is None:
                    # The luminance that is in the file, as Keras.
                    image.draft("L", None)
                image.load()
            else:
                check_whole(content, image)
                if image.format == "TIFF":
                    check_tiff(image)
                image.load()  # of PNG the metadata as well: they may stand behind the pixels
                turn = orientation(*metadata(image))
            if image.format == "PNG":
                image = eight_bits_of_png(content, image)
            elif image.format == "TIFF":
                image = eight_bits_of_tiff(content, image)
            elif image.mode in DEEP_GREY:  # HEIC of ten or twelve bits
                image = upper_bytes(image)
            image = to_srgb(image, profile)
            return fit_image(image, shape, preprocessing, turn)


@contextmanager
def one_image() -> Iterator[None]:
    """Whatever one image raises becomes an `ImageError`; what Pillow warns of is checked here."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError("too large for the memory of this machine") from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"damaged image: {reason}") from None


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
    wanted = (width, height)
    geometry = Geometry.of(turned_size(image.size, turn), wanted, preprocessing)
    if turn in TURNS and (geometry.before or geometry.after or preprocessing.filters):
        image, turn = image.transpose(TURNS[turn]), 1
    if geometry.before:
        image = cut(image, geometry.before, preprocessing.fill)
    image = resized(image, geometry.size, preprocessing, turn)
    if geometry.after:
        image = cut(image, geometry.after, preprocessing.fill)
    return np.asarray(image, dtype=np.uint8).reshape(shape)


def resized(
    image: Image.Image, wanted: tuple[int, int], preprocessing: Preprocessing, turn: int
) -> Image.Image:
    """The image upright, in the wanted width and height."""
    size = turned_size(image.size, turn)
    if size == wanted:
        return image.transpose(TURNS[turn]) if turn in TURNS else image
    if preprocessing.filters:
        return image.resize(wanted, FILTERS[preprocessing.interpolation])
    pixels = resample(
        lambda rows: read_rows(image, rows, turn),
        (size[1], size[0]),
        (wanted[1], wanted[0]),
        preprocessing.interpolation,
    )
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def cut(image: Image.Image, window: Window, fill: Colour) -> Image.Image:
    """A part of an image, with a margin of this colour where it lies beyond the edges."""
    left, top, right, bottom = window.box
    if left >= 0 and top >= 0 and right <= image.width and bottom <= image.height:
        return image.crop(window.box)
    margin = Image.new("RGB", (window.width, window.height), fill).convert(image.mode)
    margin.paste(image, (-left, -top))
    return margin


def over(background: Colour, image: Image.Image) -> Image.Image:
    """A transparent image before this colour, in RGB."""
    whole = Image.new("RGBA", image.size, (*background, 255))
    whole.alpha_composite(image.convert("RGBA"))
    return whole.convert("RGB")
