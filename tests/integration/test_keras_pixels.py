"""A picture's pixels are those that plain Keras and TensorFlow read, where we say they are."""

import io
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from imaging.images import decode_image, fit_pixels
from imaging.interpolation import TAPS, Pixels
from imaging.preprocessing import Preprocessing
from tests.builders import encode

KERAS = sorted(TAPS)
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


def picture_files() -> dict[str, bytes]:
    """Files of every kind that TensorFlow reads."""
    colour = Image.fromarray(noise(6, 8, 3)).resize((64, 48), Image.Resampling.BICUBIC)
    grey, alpha = colour.convert("L"), colour.copy()
    alpha.putalpha(grey)
    palette = colour.quantize(32)
    several = {"save_all": True, "append_images": [colour.rotate(180)]}
    return {
        "jpeg": saved(colour, "JPEG", quality=95),
        "progressive jpeg": saved(colour, "JPEG", progressive=True),
        "grey jpeg": saved(grey, "JPEG"),
        "cmyk jpeg of adobe": saved(colour.convert("CMYK"), "JPEG", quality=95),
        "rgb jpeg": saved(colour, "JPEG", keep_rgb=True),
        "mpo": saved(colour, "MPO", **several),
        "png": saved(colour, "PNG"),
        "grey png": saved(grey, "PNG"),
        "png with alpha": saved(alpha, "PNG"),
        "grey png with alpha": saved(alpha.convert("LA"), "PNG"),
        "png with a palette": saved(palette, "PNG"),
        "png with a transparent colour": saved(palette, "PNG", transparency=3),
        "png of 1 bit": saved(colour.convert("1"), "PNG"),
        "png of 16 bits": saved(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG"),
        "gif": saved(palette, "GIF"),
        "animated gif": saved(colour, "GIF", **several),
        "bmp": saved(colour, "BMP"),
        "grey bmp": saved(grey, "BMP"),
        "webp": saved(colour, "WEBP"),
        "lossless webp": saved(colour, "WEBP", lossless=True),
    }


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", picture_files())
def test_every_kind_of_file_has_the_colours_that_tensorflow_reads(name: str) -> None:
    content = picture_files()[name]
    if content.startswith(b"\xff\xd8"):  # otherwise its JPEG decoder computes less exactly
        read = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
    else:
        read = tf.io.decode_image(content, channels=3, expand_animations=False)
    difference = np.abs(decode_image(content, (48, 64, 3)).astype(int) - read.numpy())
    assert difference.max() <= (1 if "cmyk" in name else 0)


def test_what_is_transparent_in_a_gif_is_black_for_tensorflow() -> None:
    palette = Image.open(io.BytesIO(picture_files()["gif"]))
    content = saved(palette, "GIF", transparency=3)
    read = tf.io.decode_image(content, channels=3, expand_animations=False)
    decoded = decode_image(content, (48, 64, 3), Preprocessing(background=(0, 0, 0)))
    np.testing.assert_array_equal(decoded, read)


@pytest.mark.parametrize("interpolation", KERAS)
def test_a_grey_model_gets_the_luminance_that_stands_in_a_jpeg(interpolation: str) -> None:
    content = picture_files()["jpeg"]
    read = tf.io.decode_jpeg(content, channels=1, dct_method="INTEGER_ACCURATE")
    decoded = decode_image(content, (48, 64, 1), preprocessing(interpolation))
    np.testing.assert_array_equal(decoded, read)


@pytest.mark.parametrize("name", ["png", "png with a palette", "png with alpha"])
def test_grey_of_a_coloured_png_is_off_by_one_at_most(name: str) -> None:
    content = picture_files()[name]
    read = tf.io.decode_png(content, channels=1).numpy()
    difference = np.abs(decode_image(content, (48, 64, 1)).astype(int) - read)
    assert difference.max() <= 1


def test_the_jpeg_decoder_of_image_dataset_from_directory_is_less_exact(tmp_path: Path) -> None:
    """By this much its pixels are off on a photograph; nothing else differs."""
    photograph = Image.fromarray(noise(12, 16, 3)).resize((320, 240), Image.Resampling.BICUBIC)
    (tmp_path / "photograph.jpg").write_bytes(saved(photograph, "JPEG", quality=85))
    (batch,) = keras.utils.image_dataset_from_directory(tmp_path, labels=None, image_size=(64, 64))
    content = (tmp_path / "photograph.jpg").read_bytes()
    decoded = decode_image(content, (64, 64, 3), preprocessing("bilinear"))
    difference = np.abs(decoded - batch.numpy()[0])
    assert difference.mean() < 1.5
    assert difference.max() < 10


@pytest.mark.parametrize("size", [(48, 37), (31, 90), (64, 64), (333, 250)])
@pytest.mark.parametrize("wanted", [(20, 20), (24, 40)])
@pytest.mark.parametrize("resize", ["crop", "letterbox"])
def test_crop_and_letterbox_are_those_of_image_dataset_from_directory(
    tmp_path: Path, size: tuple[int, int], wanted: tuple[int, int], resize: str
) -> None:
    pixels = noise(*size, 3)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "picture.png").write_bytes(encode(pixels))
    dataset = keras.utils.image_dataset_from_directory(
        tmp_path,
        labels=None,
        image_size=wanted,
        interpolation="bilinear",
        crop_to_aspect_ratio=resize == "crop",
        pad_to_aspect_ratio=resize == "letterbox",
        shuffle=False,
        verbose=False,
    )
    (expected,) = (batch.numpy() for batch in dataset)
    fitted = decode_image(
        encode(pixels),
        (*wanted, 3),
        Preprocessing.model_validate({"resize": resize, "interpolation": "bilinear"}),
    )
    np.testing.assert_array_equal(fitted, np.rint(expected[0]))
