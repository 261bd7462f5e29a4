"""A picture's pixels are those that plain Keras and TensorFlow read, where we say they are."""

import io
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from storage.images import decode_image, fit_pixels
from storage.interpolation import RESAMPLES, Pixels
from storage.preprocessing import Preprocessing
from tests.builders import encode

KERAS = sorted(RESAMPLES)
SIZES = [(20, 30), (64, 64), (7, 90), (1, 1), (100, 3)]


def preprocessing(interpolation: str) -> Preprocessing:
    return Preprocessing.model_validate({"interpolation": interpolation})


def noise(height: int, width: int, channels: int) -> Pixels:
    return np.random.default_rng(1).integers(0, 256, (height, width, channels), np.uint8)


@pytest.mark.parametrize("interpolation", KERAS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_interpolations_of_keras_give_the_pixels_of_tensorflow(
    interpolation: str, size: tuple[int, int], channels: int
) -> None:
    pixels = noise(48, 37, channels)
    expected = np.rint(tf.image.resize(pixels, size, method=interpolation).numpy().clip(0, 255))
    for fitted in (
        decode_image(encode(pixels), (*size, channels), preprocessing(interpolation)),
        fit_pixels(pixels, (*size, channels), preprocessing(interpolation)),
    ):
        if interpolation in ("nearest", "bilinear"):
            np.testing.assert_array_equal(fitted, expected)
        else:  # sums in another order: what lies between two colours may fall to either side
            differences = np.abs(fitted - expected)
            assert differences.max() <= 1
            assert differences.mean() < 0.01


@pytest.mark.parametrize(
    ("interpolation", "of_keras"),
    [("antialias", "bilinear"), ("antialias-bicubic", "bicubic"), ("antialias-lanczos", "lanczos")],
)
@pytest.mark.parametrize("size", SIZES)
def test_the_filters_give_the_pixels_of_load_img(
    interpolation: str, of_keras: str, size: tuple[int, int]
) -> None:
    content = encode(noise(48, 37, 3))
    expected = keras.utils.load_img(io.BytesIO(content), target_size=size, interpolation=of_keras)
    decoded = decode_image(content, (*size, 3), preprocessing(interpolation))
    np.testing.assert_array_equal(decoded, np.asarray(expected))


@pytest.mark.parametrize("interpolation", KERAS)
def test_a_jpeg_is_not_shrunk_before_it_is_sampled(interpolation: str) -> None:
    """Decoding at a fraction of the size would filter."""
    buffer = io.BytesIO()
    Image.fromarray(noise(100, 140, 3).repeat(4, axis=0).repeat(4, axis=1)).save(buffer, "JPEG")
    content = buffer.getvalue()
    whole = tf.io.decode_jpeg(content, dct_method="INTEGER_ACCURATE")
    expected = np.rint(tf.image.resize(whole, (20, 30), method=interpolation).numpy().clip(0, 255))
    decoded = decode_image(content, (20, 30, 3), preprocessing(interpolation))
    assert np.abs(decoded - expected).max() <= 1


@pytest.mark.parametrize("color_mode", ["rgb", "rgba"])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_a_folder_gives_the_pixels_of_image_dataset_from_directory(
    tmp_path: Path, interpolation: str, color_mode: str
) -> None:
    channels = len(color_mode)
    for name, (height, width) in {"a": (40, 70), "b": (90, 33), "c": (24, 24), "d": (7, 5)}.items():
        (tmp_path / f"{name}.png").write_bytes(encode(noise(height, width, channels)))
    (batch,) = keras.utils.image_dataset_from_directory(
        tmp_path,
        labels=None,
        color_mode=color_mode,
        image_size=(24, 32),
        interpolation=interpolation,
        shuffle=False,
    )
    for path, expected in zip(sorted(tmp_path.iterdir()), batch.numpy(), strict=True):
        decoded = decode_image(path.read_bytes(), (24, 32, channels), preprocessing(interpolation))
        np.testing.assert_array_equal(decoded, np.rint(expected))
