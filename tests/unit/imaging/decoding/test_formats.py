"""TIFF, AVIF and HEIC, against plain Pillow and values known by hand."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from imaging.decoding import formats
from imaging.decoding.formats import begins_like_an_image, can_read_heic
from imaging.errors import ImageError
from imaging.images import Pixels, decode_image

SHAPE = (24, 32, 3)


def picture(channels: int = 3) -> Pixels:
    """A gradient, so that what is lossy stays near."""
    rows, columns = np.mgrid[0:24, 0:32]
    planes = [rows * 10, columns * 7, rows * 3 + columns * 4, 255 - rows][:channels]
    return np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8).squeeze()


def save(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "tiff_lzma", "zstd"]
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tiff_without_loss_has_the_pixels_that_were_saved(compression: str, channels: int) -> None:
    pixels = picture(channels)
    content = save(Image.fromarray(pixels), "TIFF", compression=compression)
    decoded = decode_image(content, (24, 32, channels))
    np.testing.assert_array_equal(decoded, pixels.reshape(decoded.shape))


def test_of_several_pages_the_first_counts() -> None:
    first, second = picture(), 255 - picture()
    content = save(
        Image.fromarray(first), "TIFF", save_all=True, append_images=[Image.fromarray(second)]
    )
    np.testing.assert_array_equal(decode_image(content, SHAPE), first)


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_tiff_is_turned_upright_once(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    upright = Image.fromarray(picture())
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what undoes each turn
    stored = upright.transpose(Image.Transpose(back[turn])) if turn > 1 else upright
    content = save(stored, "TIFF", exif=exif)
    np.testing.assert_array_equal(decode_image(content, SHAPE), picture())


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_a_deep_grey_tiff_keeps_the_upper_bits_of_those_it_uses(bits: int, order: str) -> None:
    values = (picture(1).astype(np.uint16) << (bits - 8)) | 1
    image = Image.fromarray(values.astype("<u2"))
    content = save(image, "TIFF")
    if order == ">u2":
        content = save(Image.frombytes("I;16B", image.size, values.astype(">u2").tobytes()), "TIFF")
    np.testing.assert_array_equal(decode_image(content, (24, 32, 1))[..., 0], picture(1))


def test_colours_of_cmyk_and_palettes_are_those_of_pillow() -> None:
    for mode in ("CMYK", "P", "1", "LA", "YCbCr"):
        image = Image.fromarray(picture()).convert(mode)
        content = save(image, "TIFF")
        with Image.open(io.BytesIO(content)) as again:
            expected = np.asarray(again.convert("RGB"))
        np.testing.assert_array_equal(decode_image(content, SHAPE), expected)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_values_without_a_known_range_are_refused_in_a_sentence(dtype: type) -> None:
    content = save(Image.fromarray(picture(1).astype(dtype)), "TIFF")
    with pytest.raises(ImageError, match="whose range is not known: convert it to 8 or 16 bits"):
        decode_image(content, (24, 32, 1))


@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
def test_modern_formats_are_near_what_was_saved_and_equal_to_their_decoder(format: str) -> None:
    assert can_read_heic()
    content = save(Image.fromarray(picture()), format, quality=95)
    decoded = decode_image(content, SHAPE)
    assert np.abs(decoded.astype(int) - picture()).max() <= 12
    with Image.open(io.BytesIO(content)) as plain:
        np.testing.assert_array_equal(decoded, np.asarray(plain.convert("RGB")))


def test_an_avif_is_turned_upright() -> None:
    """HEIC has its turns beside EXIF, and its decoder follows them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.fromarray(picture()).transpose(Image.Transpose.ROTATE_90)
    content = save(lying, "AVIF", quality=95, exif=exif)
    assert np.abs(decode_image(content, SHAPE).astype(int) - picture()).max() <= 12


def test_heic_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    content = save(pillow_heif.from_pillow(Image.fromarray(picture())).to_pillow(), "HEIF")
    monkeypatch.setattr("imaging.images.can_read_heic", lambda: False)
    with pytest.raises(ImageError, match=r"takes `pip install batchsight\[heic\]` to be read"):
        decode_image(content, SHAPE)


@pytest.mark.parametrize("format", ["TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_that_broke_off_is_an_error(format: str, share: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (200, 300, 3), np.uint8)
    content = save(Image.fromarray(noise), format)
    with pytest.raises(ImageError):
        decode_image(content[: int(share * len(content))], (200, 300, 3))


@pytest.mark.parametrize("format", ["TIFF", "AVIF", "HEIF"])
def test_mutated_files_raise_nothing_else(format: str) -> None:
    random = np.random.default_rng(1)
    content = save(Image.fromarray(picture()), format)
    for _ in range(150):
        mutated = bytearray(content)
        for place in random.integers(0, len(content), 3):
            mutated[place] = random.integers(256)
        try:
            decode_image(bytes(mutated), SHAPE)
        except ImageError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("format", ["TIFF", "AVIF", "HEIF"])
def test_the_limit_of_pixels_holds_before_anything_is_decoded(format: str) -> None:
    content = save(Image.fromarray(picture()), format)
    with pytest.raises(ImageError, match="too many pixels: 32 x 24, the limit is 700"):
        decode_image(content, SHAPE, max_pixels=700)


def test_every_format_is_named_in_words() -> None:
    assert len(formats.IN_WORDS.split(", ")) == len(formats.FORMATS)


@pytest.mark.parametrize(
    "format",
    [
        *("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "AVIF", "HEIF", "MPO"),  # supported
        *("JPEG2000", "DDS", "PPM"),
    ],
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_an_image_is_told_by_its_first_bytes(tmp_path: Path, format: str, mode: str) -> None:
    assert can_read_heic()
    file = tmp_path / "image"
    file.write_bytes(save(Image.fromarray(picture()).convert(mode), format))
    assert begins_like_an_image(file)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"P", b"PRODUCTS\n", b"P3 of the list", b"BMW 320, 2019, blue", b"RIFF    WAVEfmt "),
        *(b"id,path\n", b"\0\0\0\x18ftypmp42", b"%PDF-1.7", b"PK\3\4", b"\xff\xfei\0", b"III*"),
        *(b"<?xml version='1.0'?>\n<note>", bytes(200)),
    ],
)
def test_other_files_are_told_by_their_first_bytes(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    assert not begins_like_an_image(file)
    assert not begins_like_an_image(tmp_path)
    assert not begins_like_an_image(tmp_path / "missing")
