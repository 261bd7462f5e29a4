import io
import random
import struct
import warnings
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from storage.errors import ImageError
from storage.images import Shape, decode_image, fit_pixels
from tests.builders import encode
from tests.digits import digits

MUTATIONS_PER_FILE = 1_100


def gradient(height: int, width: int, channels: int = 1) -> NDArray[np.uint8]:
    values = np.linspace(0, 255, height * width * channels).astype(np.uint8)
    return values.reshape(height, width, channels)


def enlarged(values: list[list[int]], times: int) -> NDArray[np.uint8]:
    return np.array(values, np.uint8).repeat(times, axis=0).repeat(times, axis=1)


def save(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims this size and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("format", ["PNG", "BMP"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_lossless_image_of_the_right_size_comes_out_bit_for_bit(
    format: str, channels: int
) -> None:
    pixels = gradient(5, 7, channels)
    decoded = decode_image(encode(pixels, format), (5, 7, channels))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize("format", ["JPEG", "GIF", "WEBP"])
def test_every_other_format_comes_out_close_to_what_went_in(format: str) -> None:
    pixels = gradient(16, 16)
    decoded = decode_image(encode(pixels, format), (16, 16, 1))
    assert np.abs(decoded.astype(int) - pixels).max() <= 12


def test_real_digits_are_the_same_as_png_and_as_arrays() -> None:
    for image in digits()[0][:20]:
        np.testing.assert_array_equal(
            decode_image(encode(image), (28, 28, 1)), fit_pixels(image, (28, 28, 1))
        )


def test_another_format_is_refused_even_when_pillow_knows_it() -> None:
    content = save(Image.fromarray(gradient(4, 4, 3)), "TIFF")
    with pytest.raises(ImageError, match="not an image of a supported format"):
        decode_image(content, (4, 4, 3))


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_bytes_that_are_no_image_are_refused(content: bytes) -> None:
    with pytest.raises(ImageError):
        decode_image(content, (4, 4, 1))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "GIF", "WEBP"])
def test_a_truncated_image_is_refused(format: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    content = encode(noise, format)
    with pytest.raises(ImageError):
        decode_image(content[: len(content) * 2 // 3], (32, 32, 3))


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(ImageError, match="too many pixels: 100 x 11, the limit is 1099"):
        decode_image(png_header(100, 11), (4, 4, 1), max_pixels=1099)


@pytest.mark.parametrize("side", [9_000, 10_000, 14_000, 60_000])
def test_a_decompression_bomb_is_refused_whether_pillow_warns_of_it_or_raises(side: int) -> None:
    content = png_header(side, side)
    assert len(content) < 200
    with pytest.raises(ImageError, match="too many pixels"):
        decode_image(content, (4, 4, 1))


def test_a_limit_above_the_one_of_pillow_is_kept_without_a_warning() -> None:
    with pytest.raises(ImageError, match="damaged image"):  # decoded, and found to be truncated
        decode_image(png_header(10_000, 10_000), (4, 4, 1), max_pixels=200_000_000)


def test_sixteen_bits_a_pixel_become_the_upper_eight() -> None:
    deep = np.array([[0, 255, 256], [32768, 65280, 65535]], np.uint16)
    content = save(Image.fromarray(deep), "PNG")
    expected = [[0, 0, 1], [128, 255, 255]]
    assert decode_image(content, (2, 3, 1))[..., 0].tolist() == expected
    assert decode_image(content, (2, 3, 3))[..., 2].tolist() == expected


def test_one_bit_a_pixel_becomes_black_and_white() -> None:
    content = encode(np.array([[True, False]]))
    assert decode_image(content, (1, 2, 1)).ravel().tolist() == [255, 0]


def palette_image() -> Image.Image:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    return image


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP"])
def test_a_palette_is_looked_up(format: str) -> None:
    content = save(palette_image(), format)
    assert decode_image(content, (1, 2, 3)).tolist() == [[[255, 0, 0], [0, 0, 255]]]
    assert decode_image(content, (1, 2, 1)).ravel().tolist() == [76, 29]


def test_a_palette_with_transparency_decodes_without_a_warning() -> None:
    content = save(palette_image(), "PNG", transparency=b"\x00\x80")
    assert decode_image(content, (1, 2, 3)).tolist() == [[[255, 0, 0], [0, 0, 255]]]
    assert decode_image(content, (1, 2, 4)).tolist() == [[[255, 0, 0, 0], [0, 0, 255, 128]]]


def test_channels_are_converted_to_those_of_the_model() -> None:
    colour = np.array([[[255, 0, 0, 255], [0, 255, 0, 7]]], np.uint8)
    content = encode(colour)
    assert decode_image(content, (1, 2, 4)).tolist() == colour.tolist()
    assert decode_image(content, (1, 2, 3)).tolist() == colour[..., :3].tolist()
    assert decode_image(content, (1, 2, 1)).ravel().tolist() == [76, 150]
    grey = encode(np.array([[9, 8]], np.uint8))
    assert decode_image(grey, (1, 2, 3)).tolist() == [[[9] * 3, [8] * 3]]
    assert decode_image(grey, (1, 2, 4)).tolist() == [[[9, 9, 9, 255], [8, 8, 8, 255]]]


def test_a_model_with_two_channels_gets_no_image() -> None:
    with pytest.raises(ImageError, match="takes 2 channels"):
        decode_image(encode(gradient(2, 2)), (2, 2, 2))


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda upright: upright),
        (2, np.fliplr),
        (3, lambda upright: np.rot90(upright, 2)),
        (4, np.flipud),
        (5, np.transpose),
        (6, lambda upright: np.rot90(upright, 1)),
        (8, lambda upright: np.rot90(upright, -1)),
    ],
)
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_an_image_is_turned_upright(
    orientation: int, turn: Callable[[NDArray[np.uint8]], NDArray[np.uint8]], format: str
) -> None:
    upright = enlarged([[0, 80, 160], [240, 40, 120]], 8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = save(Image.fromarray(np.ascontiguousarray(turn(upright))), format, exif=exif)
    decoded = decode_image(content, (16, 24, 1))[..., 0]
    assert np.abs(decoded.astype(int) - upright).max() <= 4


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_another_size_is_resized(format: str) -> None:
    blocks = enlarged([[20, 200], [120, 60]], 64)
    corners = decode_image(encode(blocks, format), (8, 8, 1))[[0, 0, -1, -1], [0, -1, 0, -1], 0]
    assert np.abs(corners.astype(int) - [20, 200, 120, 60]).max() <= 3


def test_only_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("L", (2, 2), value) for value in (10, 200)]
    content = save(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode_image(content, (2, 2, 1)) == 10).all()


def test_pixels_of_another_size_or_channel_count_are_fitted() -> None:
    grey = gradient(4, 4)[..., 0]
    np.testing.assert_array_equal(fit_pixels(grey, (4, 4, 1))[..., 0], grey)
    np.testing.assert_array_equal(fit_pixels(grey[..., None], (4, 4, 1))[..., 0], grey)
    np.testing.assert_array_equal(fit_pixels(grey, (4, 4, 3))[..., 2], grey)
    np.testing.assert_array_equal(fit_pixels(grey.T, (4, 4, 1))[..., 0], grey.T)
    assert fit_pixels(gradient(9, 3, 3), (4, 4, 1)).shape == (4, 4, 1)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4), np.int64),
        np.zeros(4, np.uint8),
        np.zeros((1, 4, 4, 1), np.uint8),
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
        np.zeros((4, 4, 0), np.uint8),
    ],
    ids=lambda pixels: f"{pixels.dtype} {pixels.shape}",
)
def test_pixels_that_are_no_image_are_refused(pixels: NDArray[np.generic]) -> None:
    with pytest.raises(ImageError):
        fit_pixels(pixels, (4, 4, 1))


def real_files() -> list[tuple[str, bytes]]:
    """The same real digit in every format and in the modes that take other ways through Pillow."""
    small = Image.fromarray(digits()[0][0]).resize((20, 20))
    colour = Image.merge("RGB", (small, small.rotate(90), small.rotate(180)))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a digit"
    deep = Image.fromarray(np.asarray(small).astype(np.uint16) * 257)
    return [
        ("png", save(small, "PNG")),
        ("png of 16 bits", save(deep, "PNG")),
        ("png with a palette", save(colour.quantize(16), "PNG", transparency=b"\x00\x80\xff")),
        ("png with exif", save(colour, "PNG", exif=exif)),
        ("jpeg", save(small, "JPEG")),
        ("jpeg with exif", save(colour, "JPEG", exif=exif, progressive=True)),
        ("bmp", save(colour, "BMP")),
        ("gif", save(small, "GIF", save_all=True, append_images=[small.rotate(90)])),
        ("webp", save(colour, "WEBP")),
        ("lossless webp with exif", save(colour, "WEBP", lossless=True, exif=exif)),
    ]


def mutate(content: bytes, chance: random.Random) -> bytes:
    """Flip, overwrite, cut out, double or append bytes: most of it near the header."""
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        reach = chance.choice((40, 200, len(damaged)))
        at = chance.randrange(min(reach, len(damaged)))
        some = slice(at, at + chance.randrange(1, 40))
        match chance.randrange(7):
            case 0:
                damaged[at] = chance.randrange(256)
            case 1:
                damaged[at] ^= 1 << chance.randrange(8)
            case 2:
                damaged[at : at + 4] = chance.choice((b"\0", b"\xff", b"\x7f")) * 4
            case 3:
                del damaged[some]
            case 4:
                damaged[at:at] = damaged[some]
            case 5:
                del damaged[at + 1 :]
            case 6:
                damaged += chance.randbytes(8)
        if not damaged:
            break
    return bytes(damaged)


def mend_png(content: bytes) -> bytes:
    """Make all checksums right again, so that the damage gets past them."""
    mended = bytearray(content)
    at = 8
    while at + 12 <= len(mended):
        (length,) = struct.unpack_from(">I", mended, at)
        end = at + 8 + length
        if end + 4 > len(mended):
            break
        struct.pack_into(">I", mended, end, zlib.crc32(mended[at + 4 : end]))
        at = end + 4
    return bytes(mended)


@pytest.mark.parametrize(("name", "content"), real_files(), ids=[name for name, _ in real_files()])
def test_no_damage_whatever_gets_past_the_decoder(name: str, content: bytes) -> None:
    """Ten formats, 1,100 mutations each: an array of the right shape or an `ImageError`."""
    chance = random.Random(name)
    outcomes = {"decoded": 0, "refused": 0}
    for i in range(MUTATIONS_PER_FILE):
        damaged = mutate(content, chance)
        if "png" in name and i % 2:
            damaged = mend_png(damaged)
        shape: Shape = (8, 8, chance.choice((1, 3, 4)))
        try:
            decoded = decode_image(damaged, shape, max_pixels=100_000)
        except ImageError as error:
            assert str(error)
            outcomes["refused"] += 1
        else:
            assert decoded.shape == shape
            assert decoded.dtype == np.uint8
            outcomes["decoded"] += 1
    assert min(outcomes.values()) > MUTATIONS_PER_FILE / 50, (
        "the mutations are too tame or too wild"
    )


def test_warnings_are_errors_in_these_tests() -> None:
    with pytest.raises(UserWarning):
        warnings.warn("as Pillow does", stacklevel=1)
