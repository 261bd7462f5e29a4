"""Plain PNG files are decoded together by TensorFlow, to the same pixels as by Pillow."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from storage.errors import ImageError
from storage.images import Shape, decode_image, is_plain_png
from storage.jobs import JobStore
from storage.settings import StorageSettings
from tests.builders import encode, file_job, image_file
from worker.batch import BatchReader, Phases
from worker.predictor import Predictor

SHAPES: Sequence[Shape] = [(9, 7, 1), (9, 7, 3), (9, 7, 4)]


@pytest.fixture(scope="module")
def predictors(tmp_path_factory: pytest.TempPathFactory) -> dict[Shape, Predictor]:
    import keras

    folder = tmp_path_factory.mktemp("models")
    made = {}
    for shape in SHAPES:
        path = folder / f"{shape[2]}.keras"
        layers = [keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
        keras.Sequential([keras.Input(shape, dtype="uint8"), *layers]).save(path)
        made[shape] = Predictor(path, shape, 2)
    return made


def pictures(shape: Shape, count: int) -> list[bytes]:
    """Noise, plain colours and gradients: encoders filter their lines differently."""
    random = np.random.default_rng(1)
    noise = random.integers(0, 256, (count, *shape)).astype(np.uint8)
    noise[::3] = 7
    noise[1::3] = np.arange(shape[1], dtype=np.uint8)[:, None]
    return [encode(image) for image in noise]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_pixels_are_those_of_pillow(predictors: dict[Shape, Predictor], shape: Shape) -> None:
    contents = pictures(shape, 30)
    assert all(is_plain_png(content, shape) for content in contents)
    expected = np.stack([decode_image(content, shape) for content in contents])
    np.testing.assert_array_equal(predictors[shape].decode_pngs(contents), expected)


def test_mutated_files_are_never_taken_for_what_pillow_does_not_see(
    predictors: dict[Shape, Predictor],
) -> None:
    random = np.random.default_rng(1)
    decoded = 0
    for shape in SHAPES:
        for content in pictures(shape, 1_100):
            mutated = bytearray(content)
            for at in random.integers(26, len(mutated), random.integers(1, 4)):
                mutated[at] = random.integers(256)
            try:
                pixels = predictors[shape].decode_pngs([bytes(mutated)])[0]
            except ImageError:
                continue
            decoded += 1
            np.testing.assert_array_equal(pixels, decode_image(bytes(mutated), shape))
    assert decoded, "some mutations do not matter"


def test_what_is_not_plain_is_left_to_pillow() -> None:
    grey = np.full((9, 7), 5, np.uint8)
    palette = io.BytesIO()
    Image.fromarray(grey).convert("P").save(palette, "PNG")
    turned = Image.Exif()
    turned[0x0112] = 3
    for odd in (
        encode(grey[:8]),
        encode(np.full((9, 7, 3), 5, np.uint8)),
        encode(grey.astype(bool)),
        palette.getvalue(),
        encode(grey.astype(np.uint16)),
        encode(grey, exif=turned),
        encode(grey, "JPEG"),
        b"",
    ):
        assert not is_plain_png(odd, (9, 7, 1))
    gamma = PngImagePlugin.PngInfo()
    gamma.add(b"gAMA", (45455).to_bytes(4, "big"))
    assert is_plain_png(encode(grey, pnginfo=gamma, transparency=5), (9, 7, 1))
    assert not is_plain_png(encode(grey), (9, 7, 2))


def test_gamma_and_transparency_do_not_change_the_pixels(
    predictors: dict[Shape, Predictor],
) -> None:
    gamma = PngImagePlugin.PngInfo()
    gamma.add(b"gAMA", (45455).to_bytes(4, "big"))
    for shape, transparency in (((9, 7, 1), 5), ((9, 7, 3), (5, 6, 7))):
        image = np.full(shape, (5, 6, 7)[: shape[2]], np.uint8)
        content = encode(image, pnginfo=gamma, transparency=transparency)
        assert is_plain_png(content, shape)
        pixels = predictors[shape].decode_pngs([content])[0]
        np.testing.assert_array_equal(pixels, decode_image(content, shape))


def test_a_damaged_file_among_plain_ones_is_found(
    predictors: dict[Shape, Predictor], tmp_path: Path
) -> None:
    shape = (9, 7, 1)
    store = JobStore(tmp_path)
    contents = pictures(shape, 6)
    damaged = bytearray(contents[2])
    damaged[len(damaged) // 2] ^= 255
    other = encode(np.full((20, 20, 3), 9, np.uint8), "JPEG")
    files = [*contents[:2], bytes(damaged), *contents[3:5], other]
    job = file_job(store, [image_file(content) for content in files], batch_size=6)
    decode = predictors[shape].decode_pngs
    reader = BatchReader(store, job, 0, shape, StorageSettings(), decode)
    pixels, errors = reader.read_all({4: "skipped"}, Phases())
    assert set(errors) == {2, 4}
    assert "damaged image" in errors[2]
    for good in (0, 1, 3, 5):
        np.testing.assert_array_equal(pixels[good], reader.read(good))
    assert not pixels[[2, 4]].any()
