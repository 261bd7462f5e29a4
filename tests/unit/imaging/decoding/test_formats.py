"""TIFF, AVIF and HEIC, against plain Pillow and values known by hand."""

import io
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from imaging.decoding import formats
from imaging.decoding.formats import begins_like_an_image, can_read_heic
from imaging.errors import ImageError
from imaging.images import Pixels, decode_image
from tests.builders import save

SHAPE = (24, 32, 3)


def picture(channels: int = 3) -> Pixels:
    """A gradient, so that what is lossy stays near."""
    rows, columns = np.mgrid[0:24, 0:32]
    planes = [rows * 10, columns * 7, rows * 3 + columns * 4, 255 - rows][:channels]
    return np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8).squeeze()


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


def test_colours_of_cmyk_and_palettes_are_those_of_pillow() -> None:
    for mode in ("CMYK", "P", "1", "LA", "YCbCr"):
        image = Image.fromarray(picture()).convert(mode)
        content = save(image, "TIFF")
        with Image.open(io.BytesIO(content)) as again:
            expected = np.asarray(again.convert("RGB"))
        np.testing.assert_array_equal(decode_image(content, SHAPE), expected)


@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
def test_modern_formats_are_near_what_was_saved_and_equal_to_their_decoder(format: str) -> None:
    content = save(Image.fromarray(picture()), format, quality=95)
    decoded = decode_image(content, SHAPE)
    assert np.abs(decoded.astype(int) - picture()).max() <= 12
    with Image.open(io.BytesIO(content)) as plain:
        np.testing.assert_array_equal(decoded, np.asarray(plain.convert("RGB")))


@pytest.mark.parametrize(("mode", "channels"), [("L;16", 1), ("RGB;16", 3), ("RGBA;16", 4)])
@pytest.mark.parametrize("share", [1, 4])
def test_a_heic_of_ten_bits_is_as_bright_as_one_of_eight(
    share: int, mode: str, channels: int
) -> None:
    values = picture(channels).astype(np.uint16) // share
    file = io.BytesIO()
    spread = (values * 257).tobytes()
    pillow_heif.encode(mode, (32, 24), spread, file, quality=95, chroma="444")
    assert pillow_heif.open_heif(file).info["bit_depth"] == 10
    decoded = decode_image(file.getvalue(), (24, 32, channels)).astype(int)
    assert np.abs(decoded - values.reshape(decoded.shape)).max() <= 4


def test_heic_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    content = save(pillow_heif.from_pillow(Image.fromarray(picture())).to_pillow(), "HEIF")
    monkeypatch.setattr("imaging.images.can_read_heic", lambda: False)
    with pytest.raises(ImageError, match=r"takes `pip install batchsight\[heic\]` to be read"):
        decode_image(content, SHAPE)


def test_an_avif_that_calls_itself_an_image_in_general_is_no_heic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = save(Image.fromarray(picture()), "AVIF", quality=95)
    general = content[:8] + b"mif1" + content[12:]
    assert b"avif" in general[12:32]
    np.testing.assert_array_equal(decode_image(general, SHAPE), decode_image(content, SHAPE))
    monkeypatch.setattr("imaging.images.can_read_heic", lambda: False)
    np.testing.assert_array_equal(decode_image(general, SHAPE), decode_image(content, SHAPE))


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html>\n<html><head><title>Not found</title>",
        b"\xef\xbb\xbf\r\n <html lang=en>",
        b"<HTML>",
    ],
)
def test_a_web_page_in_place_of_a_picture_is_called_one(content: bytes) -> None:
    with pytest.raises(ImageError, match="not an image but a web page"):
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
