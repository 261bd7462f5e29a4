"""Crop and letterbox, against Pillow and by hand; Keras' are in `test_keras_pixels.py`."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from imaging.geometry import Geometry
from imaging.images import decode_image, fit_pixels
from imaging.preprocessing import Preprocessing
from tests.builders import encode

SIZES = [(640, 480), (480, 640), (333, 500), (224, 224), (100, 37), (1, 900)]


def picture(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shorter_side", [256, 64])
def test_crop_is_what_torchvision_does(size: tuple[int, int], shorter_side: int) -> None:
    """`Resize(256)` and `CenterCrop(224)`, written out."""
    image, cut = picture(*size), shorter_side * 7 // 8
    width, height = size
    if width <= height:
        resized = image.resize((shorter_side, int(shorter_side * height / width)), 2)
    else:
        resized = image.resize((int(shorter_side * width / height), shorter_side), 2)
    left = round((resized.width - cut) / 2.0)
    top = round((resized.height - cut) / 2.0)
    expected = np.asarray(resized.crop((left, top, left + cut, top + cut)))
    preprocessing = Preprocessing(resize="crop", shorter_side=shorter_side)
    shape = (cut, cut, 3)
    np.testing.assert_array_equal(
        decode_image(encode(np.asarray(image)), shape, preprocessing), expected
    )
    np.testing.assert_array_equal(fit_pixels(np.asarray(image), shape, preprocessing), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("wanted", [(96, 96), (120, 60)])
def test_letterbox_is_what_pillow_pads(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    image = picture(*size)
    if min(ImageOps.contain(image, wanted).size) == 0:
        pytest.skip("Pillow would leave nothing of it")
    expected = ImageOps.pad(image, wanted, Image.Resampling.BILINEAR, color=(10, 20, 30))
    preprocessing = Preprocessing(resize="letterbox", fill=(10, 20, 30))
    fitted = decode_image(encode(np.asarray(image)), (wanted[1], wanted[0], 3), preprocessing)
    np.testing.assert_array_equal(fitted, np.asarray(expected))


def test_a_sliver_is_still_seen_in_a_letterbox() -> None:
    white = np.full((2, 2000, 3), 255, np.uint8)
    fitted = fit_pixels(white, (32, 32, 3), Preprocessing(resize="letterbox"))
    assert fitted[:, :, 0].sum() == 32 * 255


@pytest.mark.parametrize("size", SIZES)
def test_a_crop_without_a_shorter_side_fills_any_proportions(size: tuple[int, int]) -> None:
    geometry = Geometry.of(size, (120, 60), Preprocessing(resize="crop"))
    assert geometry.after
    assert geometry.size[0] >= 120 and geometry.size[1] >= 60
    assert geometry.size[0] == 120 or geometry.size[1] == 60


@pytest.mark.parametrize("channels", [1, 4])
def test_the_margin_has_its_colour_in_grey_and_with_transparency(channels: int) -> None:
    pixels = np.zeros((10, 20, channels), np.uint8)
    preprocessing = Preprocessing(resize="letterbox", fill=(255, 255, 255))
    assert fit_pixels(pixels, (20, 20, channels), preprocessing)[0, 0].tolist() == [255] * channels
