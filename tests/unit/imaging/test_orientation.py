"""The one tag of EXIF that matters is read whatever stands in all others."""

import io
import random
import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from imaging.decoding.formats import can_read_heic
from imaging.images import Pixels, decode_image, fit_pixels
from imaging.interpolation import TAPS
from imaging.orientation import orientation
from imaging.preprocessing import Preprocessing
from tests.builders import encode

STORED = np.random.default_rng(1).integers(0, 256, (8, 12, 1), np.uint8)
STORED = STORED.repeat(8, axis=0).repeat(8, axis=1).repeat(3, axis=2)
"""Each plain area is a whole block of JPEG."""

TURNED: dict[int, Callable[[Pixels], NDArray[np.uint8]]] = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored.swapaxes(0, 1), 2),
    8: np.rot90,
}

ORIENTATION = 0x0112
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SIGNED, FLOAT = 1, 2, 3, 4, 5, 7, 8, 11
OTHERS = {
    "width": 0x0100,
    "bits": 0x0102,
    "x resolution": 0x011A,
    "unit": 0x0128,
    "time": 0x0132,
    "cells": 0x0214,
    "directory": 0x8769,
    "places": 0x8825,
}


def exif(entries: Sequence[tuple[int, int, int, bytes]], order: str = "<") -> bytes:
    """Of tag, type, count and the four bytes of the value or its place."""
    directory = struct.pack(order + "H", len(entries))
    for tag, kind, count, value in entries:
        directory += struct.pack(order + "HHL", tag, kind, count) + value.ljust(4, b"\0")
    head = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + head + struct.pack(order + "L", 8) + directory + bytes(4)


def short(value: int, order: str = "<") -> tuple[int, int, int, bytes]:
    return ORIENTATION, SHORT, 1, struct.pack(order + "H", value)


def with_exif(format: str, exif: bytes) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(STORED)
    if format == "MPO":
        image.save(buffer, "MPO", save_all=True, append_images=[image.rotate(90)], exif=exif)
    else:
        image.save(buffer, format, exif=exif, lossless=True, quality=100, subsampling="4:4:4")
    return buffer.getvalue()


def assert_shows(content: bytes, expected: NDArray[np.uint8]) -> None:
    decoded = decode_image(content, (*expected.shape[:2], 3))
    assert np.abs(decoded.astype(int) - expected).max() <= 4


@pytest.mark.parametrize("turn", TURNED)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("format", ["JPEG", "MPO", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_every_orientation_is_turned_upright_in_every_format_and_byte_order(
    format: str, order: str, turn: int
) -> None:
    assert can_read_heic()
    content = with_exif(format, exif([short(turn, order)], order))
    assert_shows(content, TURNED[turn](STORED))


def test_a_telephones_heic_is_turned_once_though_it_says_it_twice() -> None:
    assert can_read_heic()
    both = with_exif("HEIF", exif([short(6)])).replace(exif([short(1)])[6:], exif([short(6)])[6:])
    assert (both.count(b"irot"), both.count(exif([short(6)])[6:])) == (1, 1)
    assert_shows(both, TURNED[6](STORED))


@pytest.mark.parametrize("kind", range(15))
@pytest.mark.parametrize("tag", OTHERS)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_no_type_of_another_tag_keeps_a_photograph_from_being_read(
    format: str, tag: str, kind: int
) -> None:
    for count, value in [(1, b"\1\0\0\0"), (0, b""), (4, b"abcd"), (9, b"\xff\xff\xff\xff")]:
        entries = [(OTHERS[tag], kind, count, value), short(6), (0xFFFF, kind, count, value)]
        assert_shows(with_exif(format, exif(entries)), TURNED[6](STORED))


@pytest.mark.parametrize(
    ("kind", "count", "value", "expected"),
    [
        (SHORT, 1, b"\6\0", 6),
        (SHORT, 1, b"\6\0\xff\xff", 6),
        (SHORT, 2, b"\6\0\1\0", 6),
        (LONG, 1, b"\6\0\0\0", 6),
        (BYTE, 1, b"\6", 6),
        (SIGNED, 1, b"\6\0", 6),
        (SHORT, 1, b"\0\0", 1),
        (SHORT, 1, b"\x09\0", 1),
        (SHORT, 1, b"\xff\xff", 1),
        (SIGNED, 1, b"\xff\xff", 1),
        (SHORT, 0, b"\6\0", 1),
        (SHORT, 3, b"\6\0\0\0", 1),
        (ASCII, 2, b"6\0", 1),
        (UNDEFINED, 1, b"\6", 1),
        (RATIONAL, 1, b"\6\0\0\0", 1),
        (FLOAT, 1, struct.pack("<f", 6), 1),
        (99, 1, b"\6\0\0\0", 1),
    ],
)
def test_an_orientation_is_a_whole_number_from_one_to_eight_or_it_is_upright(
    kind: int, count: int, value: bytes, expected: int
) -> None:
    entries = [(ORIENTATION, kind, count, value)]
    assert orientation(exif(entries)) == expected
    assert_shows(with_exif("JPEG", exif(entries)), TURNED[expected](STORED))


def test_exif_that_ends_anywhere_is_read_as_far_as_it_goes() -> None:
    whole = exif([(0x0100, LONG, 1, b"\1\0\0\0"), short(6)])
    for length in range(len(whole)):
        found = orientation(whole[:length])
        assert found == (6 if length >= len(whole) - 4 else 1)
        assert_shows(with_exif("PNG", whole[:length]), TURNED[found](STORED))


def test_where_exif_says_nothing_xmp_and_old_profiles_are_asked() -> None:
    xmp = b'<x tiff:Orientation="6"/>'
    assert orientation(b"", xmp) == 6
    assert orientation(exif([short(0)]), b"<tiff:Orientation>8</tiff:Orientation>") == 8
    assert orientation(exif([short(3)]), xmp) == 3
    assert orientation(b"", b'tiff:Orientation="9"') == 1
    jpeg = with_exif("JPEG", b"")
    segment = b"http://ns.adobe.com/xap/1.0/\0" + xmp
    jpeg = jpeg[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2) + segment + jpeg[2:]
    assert_shows(jpeg, TURNED[6](STORED))
    for keyword, text, turn in [
        ("XML:com.adobe.xmp", xmp.decode(), 6),
        ("xmp", xmp.decode(), 6),
        ("Raw profile type exif", f"\nexif\n 8\n{exif([short(6)]).hex()}\n", 6),
        ("Raw profile type exif", "\nexif\n 8\nno hex\n", 1),
    ]:
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt(keyword, text)
        assert_shows(encode(STORED, pnginfo=texts), TURNED[turn](STORED))


@pytest.mark.parametrize("turn", TURNED)
@pytest.mark.parametrize("interpolation", ["antialias", *TAPS])
def test_a_picture_is_resized_as_if_it_had_been_turned_before(
    interpolation: str, turn: int
) -> None:
    preprocessing = Preprocessing.model_validate({"interpolation": interpolation})
    content = with_exif("PNG", exif([short(turn)]))
    upright = np.ascontiguousarray(TURNED[turn](STORED))
    for size in [(20, 33), (120, 7)]:
        np.testing.assert_array_equal(
            decode_image(content, (*size, 3), preprocessing),
            fit_pixels(upright, (*size, 3), preprocessing),
        )


def test_a_lying_jpeg_is_decoded_at_the_fraction_that_its_upright_size_allows() -> None:
    stored = STORED.repeat(8, axis=1)[:, :512]
    content = encode(stored, "JPEG", exif=exif([short(6)]), quality=100)
    expected = fit_pixels(np.ascontiguousarray(TURNED[6](stored)), (8, 64, 3))
    assert np.abs(decode_image(content, (8, 64, 3)).astype(int) - expected).max() <= 4


@pytest.mark.parametrize("format", ["JPEG", "MPO", "PNG", "WEBP"])
def test_no_mutation_of_metadata_costs_a_picture(format: str) -> None:
    chance = random.Random(format)
    photograph = Image.Exif()
    photograph.update({ORIENTATION: 6, 0x010E: "a photograph", 0x011A: 72.0, 0x0128: 2})
    photograph.get_ifd(0x8769).update({0x9003: "2024:01:01 00:00:00", 0xA002: 12})
    whole = photograph.tobytes()
    content = with_exif(format, whole)
    at = content.index(whole[6:])
    upright = [np.ascontiguousarray(TURNED[turn](STORED)) for turn in TURNED]
    expected = [fit_pixels(pixels, (64, 64, 3)).astype(int) for pixels in upright]
    for _ in range(300):
        mutated = bytearray(whole[6:])
        for _ in range(chance.choice((1, 2, 4, 16))):
            mutated[chance.randrange(len(mutated))] = chance.choice((0, 1, 2, 5, 7, 255))
        damaged = bytearray(content)
        damaged[at : at + len(mutated)] = mutated
        if format == "PNG":
            checksum = zlib.crc32(damaged[at - 4 : at + len(mutated)]).to_bytes(4)
            damaged[at + len(mutated) : at + len(mutated) + 4] = checksum
        decoded = decode_image(bytes(damaged), (64, 64, 3))
        assert min(np.abs(decoded - each).max() for each in expected) <= 6
