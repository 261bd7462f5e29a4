import io
import random
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imaging.errors import ImageError
from imaging.images import Shape, decode_image, fit_pixels
from imaging.preprocessing import Interpolation, Preprocessing
from tests.builders import encode, save
from tests.digits import digits
from worker.batches.watchdog import StepTooLong

MUTATIONS_PER_FILE = 1_100


def gradient(height: int, width: int, channels: int = 1) -> NDArray[np.uint8]:
    values = np.linspace(0, 255, height * width * channels).astype(np.uint8)
    return values.reshape(height, width, channels)


def enlarged(values: list[list[int]], times: int) -> NDArray[np.uint8]:
    return np.array(values, np.uint8).repeat(times, axis=0).repeat(times, axis=1)


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(width: int, height: int, depth: int, colour: int, lines: bytes, *others: bytes) -> bytes:
    """A PNG of these lines, each with its filter, and of other chunks before them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(others) + pixels


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims this size and holds next to nothing."""
    return png(width, height, 8, 0, bytes(1000))


def deep_png(values: NDArray[np.integer], *others: bytes) -> bytes:
    """A PNG of sixteen bits a value, of values (H, W) or (H, W, C)."""
    height, width, channels = values.reshape(*values.shape[:2], -1).shape
    lines = b"".join(b"\0" + line.tobytes() for line in values.astype(">u2"))
    return png(width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], lines, *others)


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
    content = save(Image.fromarray(gradient(4, 4, 3)), "TGA")
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


@pytest.mark.parametrize("side", [13_000, 14_000, 60_000])
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


@pytest.mark.parametrize("channels", [1, 2, 3, 4], ids=["grey", "grey, alpha", "rgb", "rgb, alpha"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_of_the_bits_that_a_deep_picture_uses_the_upper_eight_count(
    bits: int, channels: int
) -> None:
    values = np.random.default_rng(bits).integers(0, 2**bits, (5, 7, channels))
    values[0, 0] = 2**bits - 1
    expected = values >> (bits - 8)
    if channels in (2, 4):
        values[..., -1] = expected[..., -1] * 257
    decoded = decode_image(deep_png(values), (5, 7, 4 if channels in (2, 4) else 3))
    if channels in (1, 2):
        assert (decoded[..., :3] == expected[..., :1]).all()
    else:
        assert (decoded[..., :3] == expected[..., :3]).all()
    if channels in (2, 4):
        assert (decoded[..., 3] == expected[..., -1]).all()


@pytest.mark.parametrize(
    ("significant", "values", "expected"),
    [
        (12, [0, 900, 16], [0, 56, 1]),
        (16, [0, 900, 4095], [0, 3, 15]),
        (12, [0, 900, 65520], [0, 3, 255]),
        (10, [0, 900, 4095], [0, 56, 255]),
        (5, [0, 3, 31], [0, 3, 31]),
    ],
)
def test_a_file_may_say_how_many_bits_it_uses(
    significant: int, values: list[int], expected: list[int]
) -> None:
    content = deep_png(np.array([values]), chunk(b"sBIT", bytes([significant])))
    assert decode_image(content, (1, 3, 1)).ravel().tolist() == expected


@pytest.mark.parametrize("spread", [256, 257])
def test_a_dark_picture_of_eight_bits_spread_over_sixteen_stays_dark(spread: int) -> None:
    dark = np.array([[0, 3, 15, 9]])
    assert decode_image(deep_png(dark * spread), (1, 4, 1)).ravel().tolist() == [0, 3, 15, 9]


@pytest.mark.parametrize("places", [2, 4, 6])
def test_eight_bits_in_the_upper_part_of_fewer_than_sixteen_are_not_near_black(places: int) -> None:
    bright = np.array([[0, 3, 208, 255]])
    decoded = decode_image(deep_png(bright << places), (1, 4, 1))
    assert decoded.ravel().tolist() == [0, 3, 208, 255]


def test_a_black_picture_of_sixteen_bits_is_black() -> None:
    assert not decode_image(deep_png(np.zeros((2, 3), int)), (2, 3, 1)).any()


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


WHITE, GREEN = (255, 255, 255), (0, 255, 0)
HIDDEN = [[[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 0, 51]]]


def transparent_files() -> list[tuple[str, bytes, list[list[int]]]]:
    """Each with what white shows of it: its first pixel is transparent, its second is not."""
    rgba = np.array(HIDDEN, np.uint8)
    two = Image.new("P", (2, 1))
    two.putpalette([10, 20, 30, 200, 0, 0])
    two.putpixel((1, 0), 1)
    key, opaque = [255, 255, 255], [200, 0, 0]
    shade = np.array([[7, 200]], np.uint8)
    low = png(2, 1, 4, 0, b"\0\x1f", chunk(b"tRNS", struct.pack(">H", 1)))
    low_black = png(8, 1, 1, 0, b"\0\x7f", chunk(b"tRNS", struct.pack(">H", 0)))
    return [
        ("rgba png", encode(rgba), [key, [10, 20, 30], [204, 204, 204]]),
        ("webp", encode(rgba, "WEBP", lossless=True, exact=True), [key, [10, 20, 30], [204] * 3]),
        ("rgba of 16 bits", deep_png(rgba.astype(int) * 257), [key, [10, 20, 30], [204] * 3]),
        ("la png", save(Image.fromarray(rgba).convert("LA"), "PNG"), [key, [18] * 3, [204] * 3]),
        ("palette png", save(two, "PNG", transparency=0), [key, opaque]),
        ("palette with alpha", save(two, "PNG", transparency=b"\0\xff"), [key, opaque]),
        ("gif", save(two, "GIF", transparency=0), [key, opaque]),
        ("rgb png with a colour", encode(rgba[:, :1, :3], transparency=(10, 20, 30)), [key]),
        ("grey png with a shade", encode(shade, transparency=7), [key, [200] * 3]),
        ("grey png of 4 bits", low, [key, [255] * 3]),
        ("grey png of 1 bit", low_black, [key, [255] * 3]),
        (
            "grey png of 16 bits",
            deep_png(shade.astype(int) * 16 + 5, chunk(b"tRNS", struct.pack(">H", 7 * 16 + 5))),
            [key, [200] * 3],
        ),
        (
            "rgb png of 16 bits",
            deep_png(
                np.array([[[51200, 5120, 7680], [51201, 5120, 7680]]]),
                chunk(b"tRNS", struct.pack(">HHH", 51200, 5120, 7680)),
            ),
            [key, [200, 20, 30]],
        ),
    ]


@pytest.mark.parametrize(
    ("content", "on_white"),
    [file[1:] for file in transparent_files()],
    ids=[file[0] for file in transparent_files()],
)
def test_a_background_covers_what_lies_hidden_under_transparent_pixels(
    content: bytes, on_white: list[list[int]]
) -> None:
    width = Image.open(io.BytesIO(content)).width
    white, green = Preprocessing(background=WHITE), Preprocessing(background=GREEN)
    shown = decode_image(content, (1, width, 3), white)[0].tolist()
    assert shown[: len(on_white)] == on_white
    assert decode_image(content, (1, width, 3), green)[0, 0].tolist() == [0, 255, 0]
    assert decode_image(content, (1, width, 1), white)[0, 0].tolist() == [255]
    assert decode_image(content, (1, width, 1), green)[0, 0].tolist() == [150]


@pytest.mark.parametrize("background", [WHITE, GREEN, (0, 0, 0)])
def test_each_colour_of_a_palette_has_its_own_share_of_the_background(
    background: tuple[int, int, int],
) -> None:
    colours = np.array([[200, 0, 0], [0, 100, 250], [30, 60, 90], [255, 255, 0]], np.uint8)
    alpha = np.array([0, 51, 128, 255], np.uint8)
    image = Image.fromarray(np.array([[0, 1, 2, 3, 2, 1]], np.uint8), "P")
    image.putpalette(colours.tobytes())
    content = save(image, "PNG", transparency=alpha.tobytes())
    order = np.asarray(image)[0]
    share = alpha[order, None] / 255
    expected = colours[order] * share + np.array(background) * (1 - share)
    shown = decode_image(content, (1, 6, 3), Preprocessing(background=background))[0]
    assert np.abs(shown - expected).max() <= 1
    np.testing.assert_array_equal(decode_image(content, (1, 6, 3))[0], colours[order])
    kept = decode_image(content, (1, 6, 4))[0]
    np.testing.assert_array_equal(kept, np.column_stack([colours[order], alpha[order]]))


def test_without_a_background_the_transparent_colour_of_a_gif_is_the_one_in_its_palette() -> None:
    image = palette_image()
    content = save(image, "GIF", transparency=1)
    assert decode_image(content, (1, 2, 3)).tolist() == [[[255, 0, 0], [0, 0, 255]]]
    assert decode_image(content, (1, 2, 4)).tolist() == [[[255, 0, 0, 255], [0, 0, 255, 0]]]


def test_a_background_is_laid_before_a_picture_is_resized() -> None:
    pixels = np.array([[[0, 0, 0, 0], [100, 100, 100, 255]]], np.uint8)
    for interpolation in ("antialias", "bilinear"):
        preprocessing = Preprocessing(background=WHITE, interpolation=interpolation)
        for fitted in (
            decode_image(encode(pixels), (1, 1, 3), preprocessing),
            fit_pixels(pixels, (1, 1, 3), preprocessing),
        ):
            assert abs(int(fitted[0, 0, 0]) - 178) <= 1


def test_without_a_background_the_transparency_is_dropped_and_with_four_channels_kept() -> None:
    pixels = np.array(HIDDEN, np.uint8)
    content = encode(pixels)
    np.testing.assert_array_equal(decode_image(content, (1, 3, 3)), pixels[..., :3])
    for preprocessing in (Preprocessing(), Preprocessing(background=WHITE)):
        np.testing.assert_array_equal(decode_image(content, (1, 3, 4), preprocessing), pixels)


@pytest.mark.parametrize(
    "error",
    [TypeError("bad operand"), AttributeError(), KeyError(7), RecursionError(), MemoryError()],
    ids=repr,
)
def test_whatever_one_image_raises_is_its_reason(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Image.Image, "convert", fail)
    reason = "too large for the memory" if isinstance(error, MemoryError) else "damaged image: ."
    with pytest.raises(ImageError, match=reason):
        decode_image(encode(gradient(4, 4)), (4, 4, 3))
    with pytest.raises(ImageError, match=reason):
        fit_pixels(gradient(4, 4), (4, 4, 3))


def test_the_end_of_a_steps_time_is_not_the_images_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StepTooLong

    monkeypatch.setattr(Image.Image, "convert", fail)
    with pytest.raises(StepTooLong):
        decode_image(encode(gradient(4, 4)), (4, 4, 3))


@pytest.mark.parametrize("size", [(8192, 6144), (12000, 9000)], ids=["50 MP", "108 MP"])
def test_the_photographs_of_telephones_are_below_the_limit(size: tuple[int, int]) -> None:
    content = save(Image.new("L", size, 200), "JPEG")
    assert (decode_image(content, (4, 4, 1)) == 200).all()


def test_the_limit_names_the_way_to_change_it() -> None:
    with pytest.raises(ImageError) as refused:
        decode_image(png_header(100, 11), (4, 4, 1), max_pixels=1099)
    assert str(refused.value) == (
        "too many pixels: 100 x 11, the limit is 1099 (BATCHSIGHT_MAX_IMAGE_PIXELS)"
    )


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
    several = {"save_all": True, "append_images": [colour.rotate(90)]}
    return [
        ("png", save(small, "PNG")),
        ("png of 16 bits", save(deep, "PNG")),
        ("png of 16 bits in colour", deep_png(np.asarray(colour).astype(int) * 16)),
        ("png with a palette", save(colour.quantize(16), "PNG", transparency=b"\x00\x80\xff")),
        ("png with exif", save(colour, "PNG", exif=exif)),
        ("jpeg", save(small, "JPEG")),
        ("jpeg with exif", save(colour, "JPEG", exif=exif, progressive=True)),
        ("cmyk jpeg", save(colour.convert("CMYK"), "JPEG", exif=exif)),
        ("mpo", save(colour, "MPO", exif=exif, **several)),
        ("bmp", save(colour, "BMP")),
        ("bmp with a palette", save(colour.quantize(16), "BMP")),
        ("gif", save(small, "GIF", save_all=True, append_images=[small.rotate(90)])),
        ("gif with transparency", save(colour.quantize(16), "GIF", transparency=3)),
        ("webp", save(colour, "WEBP")),
        ("animated webp", save(colour, "WEBP", **several)),
        ("lossless webp with exif", save(colour, "WEBP", lossless=True, exif=exif)),
    ]


def mutate(content: bytes, chance: random.Random) -> bytes:
    """Flip, overwrite, cut out, double or append bytes: most of it near the header."""
    damaged = bytearray(content)
    exif = max(content.find(b"II*\0"), content.find(b"MM\0*"), 0)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        start = chance.choice((0, exif))
        reach = chance.choice((40, 200, len(damaged)))
        at = chance.randrange(min(start, len(damaged) - 1), min(start + reach, len(damaged)))
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


def fix_png(content: bytes) -> bytes:
    """Make all checksums right again, so that the damage gets past them."""
    fixed = bytearray(content)
    at = 8
    while at + 12 <= len(fixed):
        (length,) = struct.unpack_from(">I", fixed, at)
        end = at + 8 + length
        if end + 4 > len(fixed):
            break
        struct.pack_into(">I", fixed, end, zlib.crc32(fixed[at + 4 : end]))
        at = end + 4
    return bytes(fixed)


@pytest.mark.parametrize(("name", "content"), real_files(), ids=[name for name, _ in real_files()])
def test_no_damage_whatever_gets_past_the_decoder(name: str, content: bytes) -> None:
    """All formats, 1,100 mutations each: an array of the right shape or an `ImageError`."""
    chance = random.Random(name)
    outcomes = {"decoded": 0, "refused": 0}
    for i in range(MUTATIONS_PER_FILE):
        damaged = mutate(content, chance)
        if "png" in name and i % 2:
            damaged = fix_png(damaged)
        shape: Shape = (8, 8, chance.choice((1, 3, 4)))
        preprocessing = Preprocessing(
            interpolation=chance.choice(get_args(Interpolation)),
            background=chance.choice((None, (255, 255, 255))),
        )
        try:
            decoded = decode_image(damaged, shape, preprocessing, max_pixels=100_000)
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
