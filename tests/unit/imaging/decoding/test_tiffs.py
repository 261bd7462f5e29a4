"""TIFF files of all kinds of values, written by hand: none of Pillow's writing is trusted here."""

import struct
import zlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from imaging.errors import ImageError
from imaging.images import decode_image

SHORT, LONG = 3, 4
SUBFILE_TYPE, ORIENTATION, EXTRA_SAMPLES, SAMPLE_FORMAT = 254, 274, 338, 339
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, INKS = 0, 1, 2, 5
PREMULTIPLIED, STRAIGHT = 1, 2
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
SHAPE = (24, 40)
TILE = 16

Values = NDArray[Any]


def tiff(
    values: Values,
    photometric: int,
    *,
    order: Literal["<", ">"] = "<",
    planes: bool = False,
    predicted: bool = False,
    deflated: bool = False,
    tiled: bool = False,
    tags: Mapping[int, int] | None = None,
) -> bytes:
    """A file of one page of values (H, W, C), pixel by pixel, in planes or in tiles."""
    height, width, channels = values.shape
    parts = np.moveaxis(values, -1, 0)[..., None] if planes else values[None]
    if tiled:
        whole = np.pad(values, ((0, -height % TILE), (0, -width % TILE), (0, 0)))
        rows, columns = whole.shape[0] // TILE, whole.shape[1] // TILE
        parts = whole.reshape(rows, TILE, columns, TILE, channels).swapaxes(1, 2)
        parts = parts.reshape(-1, TILE, TILE, channels)
    if predicted:
        before = np.concatenate([np.zeros_like(parts[:, :, :1]), parts[:, :, :-1]], axis=2)
        parts = parts - before
    strips = [part.astype(values.dtype.newbyteorder(order)).tobytes() for part in parts]
    if deflated or predicted:
        strips = [zlib.compress(strip) for strip in strips]
    places = np.cumsum([8] + [len(strip) for strip in strips])
    entries = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [8 * values.itemsize] * channels),
        259: (SHORT, [8 if deflated or predicted else 1]),
        262: (SHORT, [photometric]),
        277: (SHORT, [channels]),
        284: (SHORT, [2 if planes else 1]),
        317: (SHORT, [2 if predicted else 1]),
        SAMPLE_FORMAT: (
            SHORT,
            [{"u": UNSIGNED, "i": SIGNED, "f": FLOAT}[values.dtype.kind]] * channels,
        ),
    }
    sizes = [len(strip) for strip in strips]
    if tiled:
        entries |= {322: (LONG, [TILE]), 323: (LONG, [TILE])}
        entries |= {324: (LONG, places[:-1].tolist()), 325: (LONG, sizes)}
    else:
        entries |= {273: (LONG, places[:-1].tolist()), 278: (LONG, [height]), 279: (LONG, sizes)}
    entries |= {tag: (SHORT, [value]) for tag, value in (tags or {}).items()}
    directory = int(places[-1])
    beyond, at = b"", directory + 2 + 12 * len(entries) + 4
    lines = struct.pack(order + "H", len(entries))
    for tag, (kind, numbers) in sorted(entries.items()):
        packed = struct.pack(order + {SHORT: "H", LONG: "I"}[kind] * len(numbers), *numbers)
        if len(packed) > 4:
            value, beyond = struct.pack(order + "I", at + len(beyond)), beyond + packed
        else:
            value = packed.ljust(4, b"\0")
        lines += struct.pack(order + "HHI", tag, kind, len(numbers)) + value
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, directory)
    return head + b"".join(strips) + lines + bytes(4) + beyond


def random_values(bits: int, channels: int) -> Values:
    values = np.random.default_rng(bits).integers(0, 2**bits, (*SHAPE, channels))
    values[0, 0] = 2**bits - 1
    return values.astype(np.uint8 if bits == 8 else np.uint16)


LAYOUTS: dict[str, dict[str, Any]] = {
    "raw": {},
    "deflate": {"deflated": True},
    "predictor": {"predicted": True},
    "tiles": {"tiled": True},
    "tiles, predictor": {"tiled": True, "predicted": True},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_of_colours_the_upper_eight_of_the_bits_that_are_used_count(
    bits: int, order: Literal["<", ">"], layout: str
) -> None:
    values = random_values(bits, 3)
    content = tiff(values, RGB, order=order, **LAYOUTS[layout])
    np.testing.assert_array_equal(decode_image(content, (*SHAPE, 3)), values >> (bits - 8))


def test_both_bytes_of_a_value_are_turned_upright() -> None:
    values = random_values(12, 3)
    content = tiff(values, RGB, tags={ORIENTATION: 6})
    upright = np.rot90(values >> 4, -1)
    np.testing.assert_array_equal(decode_image(content, upright.shape), upright)


@pytest.mark.parametrize("spread", [256, 257])
def test_dark_colours_of_eight_bits_spread_over_sixteen_stay_dark(spread: int) -> None:
    dark = (random_values(8, 3) // 16).astype(np.uint16)
    content = tiff(dark * np.uint16(spread), RGB)
    np.testing.assert_array_equal(decode_image(content, (*SHAPE, 3)), dark)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_mutations_raise_nothing_but_a_reason(channels: int, layout: str) -> None:
    chance = np.random.default_rng(channels)
    tags = {EXTRA_SAMPLES: STRAIGHT} if channels == 4 else {}
    photometric = BLACK_IS_ZERO if channels == 1 else RGB
    content = tiff(random_values(12, channels), photometric, tags=tags, **LAYOUTS[layout])
    directory = int.from_bytes(content[4:8], "little")
    for _ in range(60):
        mutated = bytearray(content)
        for place in chance.integers(directory, len(content), 3):
            mutated[place] = chance.integers(256)
        try:
            decode_image(bytes(mutated), (*SHAPE, 3), max_pixels=1_000_000)
        except ImageError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_planes_are_put_together_or_refused_where_their_range_is_in_doubt(
    order: Literal["<", ">"], deflated: bool
) -> None:
    for bits in (8, 16):
        values = random_values(bits, 3)
        content = tiff(values, RGB, order=order, planes=True, deflated=deflated)
        np.testing.assert_array_equal(decode_image(content, (*SHAPE, 3)), values >> (bits - 8))
    content = tiff(random_values(14, 3), RGB, order=order, planes=True, deflated=deflated)
    with pytest.raises(ImageError, match="planes may be of fewer than 16 bits: convert it to 8"):
        decode_image(content, (*SHAPE, 3))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_alpha_is_of_all_the_bits(bits: int, order: Literal["<", ">"], layout: str) -> None:
    values = random_values(bits, 4)
    content = tiff(values, RGB, order=order, tags={EXTRA_SAMPLES: STRAIGHT}, **LAYOUTS[layout])
    decoded = decode_image(content, (*SHAPE, 4))
    np.testing.assert_array_equal(decoded[..., :3], values[..., :3] >> (bits - 8))
    np.testing.assert_array_equal(decoded[..., 3], values[..., 3] >> (0 if bits == 8 else 8))


@pytest.mark.parametrize("bits", [8, 16])
def test_colours_that_were_multiplied_by_alpha_are_divided_by_it(bits: int) -> None:
    straight = random_values(8, 4).astype(int)
    straight[..., 3] |= 128
    scale = 1 if bits == 8 else 257
    values = straight * scale
    values[..., :3] = values[..., :3] * straight[..., 3:] // 255
    stored = values.astype(np.uint8 if bits == 8 else np.uint16)
    content = tiff(stored, RGB, tags={EXTRA_SAMPLES: PREMULTIPLIED})
    assert np.abs(decode_image(content, (*SHAPE, 4)) - straight).max() <= 2


@pytest.mark.parametrize("layout", ["raw", "deflate", "predictor"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize(
    ("photometric", "order"), [(BLACK_IS_ZERO, "<"), (BLACK_IS_ZERO, ">"), (WHITE_IS_ZERO, "<")]
)
def test_grey_may_begin_with_black_or_with_white(
    photometric: int, bits: int, order: Literal["<", ">"], layout: str
) -> None:
    values = random_values(bits, 1)
    content = tiff(values, photometric, order=order, **LAYOUTS[layout])
    expected = values >> (bits - 8)
    expected = 255 - expected if photometric == WHITE_IS_ZERO else expected
    np.testing.assert_array_equal(decode_image(content, (*SHAPE, 1)), expected)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("layout", ["raw", "deflate"])
def test_inks_take_light_from_white(layout: str, bits: int) -> None:
    values = random_values(bits, 4)
    light = 1 - (values >> (bits - 8)) / 255
    expected = 255 * light[..., :3] * light[..., 3:]
    content = tiff(values, INKS, **LAYOUTS[layout])
    assert np.abs(decode_image(content, (*SHAPE, 3)) - expected).max() <= 1


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        (np.int8, "signed numbers"),
        (np.int16, "signed numbers"),
        (np.int32, "signed numbers"),
        (np.uint32, "numbers of 32 bits"),
        (np.float32, "floating-point numbers"),
    ],
)
def test_values_without_a_known_range_are_refused_in_a_sentence(dtype: type, kind: str) -> None:
    content = tiff(np.ones((*SHAPE, 1), dtype), BLACK_IS_ZERO)
    with pytest.raises(ImageError) as refused:
        decode_image(content, (*SHAPE, 1))
    assert str(refused.value) == (
        f"its values are {kind}, whose range is not known: convert it to 8 or 16 bits"
    )


@pytest.mark.parametrize(
    ("values", "photometric", "tags"),
    [
        (np.ones((*SHAPE, 3), np.float32), RGB, {}),
        (np.ones((*SHAPE, 3), np.int16), RGB, {}),
        (np.ones((*SHAPE, 1), np.float64), BLACK_IS_ZERO, {}),
        (np.ones((*SHAPE, 2), np.uint16), BLACK_IS_ZERO, {EXTRA_SAMPLES: STRAIGHT}),
        (np.ones((*SHAPE, 5), np.uint8), BLACK_IS_ZERO, {}),
    ],
    ids=["colours in floats", "signed colours", "float64", "grey of 16 bits, alpha", "5 bands"],
)
def test_a_kind_that_nobody_reads_here_is_said_to_be_one(
    values: Values, photometric: int, tags: dict[int, int]
) -> None:
    with pytest.raises(ImageError, match="a kind of TIFF that is not read: convert it to 8 bits"):
        decode_image(tiff(values, photometric, tags=tags), (*SHAPE, 3))


def test_the_preview_of_a_raw_photograph_does_not_stand_for_it() -> None:
    content = tiff(random_values(8, 3), RGB, tags={SUBFILE_TYPE: 1})
    with pytest.raises(ImageError, match="its first picture is but a preview, as in raw photo"):
        decode_image(content, (*SHAPE, 3))
