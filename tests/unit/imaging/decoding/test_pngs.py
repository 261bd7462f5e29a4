"""Plain PNG files are decoded together, to the same pixels as by Pillow one by one."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from imaging.decoding import pngs
from imaging.decoding.pngs import SMALL_BYTES, TALL_BYTES, decode_plain_pngs
from imaging.images import Pixels, Shape, decode_image
from imaging.preprocessing import Preprocessing
from storage.jobs.store import JobStore
from storage.settings import StorageSettings
from tests.builders import encode, file_job, image_file
from worker.batches.batch import BatchReader
from worker.batches.phases import Phases
from worker.batches.progress import Progress

SHAPES: Sequence[Shape] = [(9, 7, 1), (9, 7, 3), (9, 7, 4)]
UNTOUCHED = 99


def decode(contents: Sequence[bytes], shape: Shape) -> dict[int, Pixels]:
    """The pixels of those that are taken for plain, by position."""
    pixels = np.full((len(contents), *shape), UNTOUCHED, np.uint8)
    plain = decode_plain_pngs(dict(enumerate(contents)), shape, pixels)
    others = [i for i in range(len(contents)) if i not in plain]
    assert (pixels[others] == UNTOUCHED).all()
    return {i: pixels[i] for i in plain}


def pictures(shape: Shape, count: int) -> list[bytes]:
    """Noise, plain colours and gradients: encoders filter their lines differently."""
    random = np.random.default_rng(1)
    noise = random.integers(0, 256, (count, *shape)).astype(np.uint8)
    noise[::3] = 7
    noise[1::3] = np.arange(shape[1], dtype=np.uint8)[:, None]
    return [encode(image) for image in noise]


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def with_filters(shape: Shape, filters: Sequence[int], size: int | None = None) -> bytes:
    """A file with noise in its lines, each filtered as it says, `size` bytes before compression."""
    random = np.random.default_rng(1)
    lines = b"".join(bytes([one]) + random.bytes(shape[1] * shape[2]) for one in filters)
    lines = lines if size is None else lines[:size].ljust(size, b"\0")
    whole = pngs.plain_start(shape) + chunk(b"IDAT", zlib.compress(lines))
    return whole + chunk(b"IEND", b"")


@pytest.mark.parametrize("shape", SHAPES)
def test_the_pixels_are_those_of_pillow(shape: Shape) -> None:
    contents = pictures(shape, 30)
    found = decode(contents, shape)
    assert len(found) == len(contents)
    for position, pixels in found.items():
        np.testing.assert_array_equal(pixels, decode_image(contents[position], shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_filter_counts_from_a_blank_line_above_the_first(shape: Shape) -> None:
    random = np.random.default_rng(2)
    contents = [with_filters(shape, [first] * shape[0]) for first in range(5)]
    contents += [with_filters(shape, random.integers(0, 5, shape[0]).tolist()) for _ in range(20)]
    found = decode(contents, shape)
    assert len(found) == len(contents)
    for position, pixels in found.items():
        np.testing.assert_array_equal(pixels, decode_image(contents[position], shape))


def test_memory_does_not_grow_with_the_number_of_files() -> None:
    shape = (100, 300, 1)
    count = 6 * TALL_BYTES // (100 * 300)
    contents = [encode(np.full(shape, i % 250, np.uint8)) for i in range(count)]
    contents[10:10] = [b"no image"]
    pixels = np.zeros((len(contents), *shape), np.uint8)
    tracemalloc.start()
    decoded = decode_plain_pngs(dict(enumerate(contents)), shape, pixels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * TALL_BYTES
    assert len(decoded) == count
    expected = [i % 250 for i in range(count)]
    expected[10:10] = [0]
    assert (pixels == np.array(expected, np.uint8)[:, None, None, None]).all()


def test_mutated_files_are_never_taken_for_what_pillow_does_not_see() -> None:
    random = np.random.default_rng(1)
    decoded = 0
    for shape in SHAPES:
        mutations = []
        for content in pictures(shape, 1_100):
            mutated = bytearray(content)
            for at in random.integers(26, len(mutated), random.integers(1, 4)):
                mutated[at] = random.integers(256)
            mutations.append(bytes(mutated))
        for position, pixels in decode(mutations, shape).items():
            decoded += 1
            np.testing.assert_array_equal(pixels, decode_image(mutations[position], shape))
    assert decoded, "some mutations do not matter"


def test_files_cut_short_or_with_something_behind_are_left_to_pillow() -> None:
    shape = (9, 7, 1)
    content = pictures(shape, 1)[0]
    others = [content[:length] for length in range(len(content))]
    others += [content + b"\0", content[:-1] + b"\0"]
    lines = bytes(9 * 8)
    for stream in (zlib.compress(lines)[:-4], zlib.compress(lines)[:-1] + b"x"):
        others.append(pngs.plain_start(shape) + chunk(b"IDAT", stream) + chunk(b"IEND", b""))
    assert decode(others, shape) == {}


@pytest.mark.parametrize(
    ("filters", "size"), [([5] + [0] * 8, None), ([0] * 9, 9 * 8 - 1), ([0] * 9, 9 * 8 + 1)]
)
def test_lines_with_an_unknown_filter_or_of_another_number_are_left_to_pillow(
    filters: list[int], size: int | None
) -> None:
    shape = (9, 7, 1)
    good = pictures(shape, 3)
    found = decode([*good, with_filters(shape, filters, size), *good], shape)
    assert sorted(found) == [0, 1, 2, 4, 5, 6]
    for position, pixels in found.items():
        np.testing.assert_array_equal(pixels, decode_image(good[position % 4], shape))


def test_a_file_that_inflates_without_end_is_given_up_early() -> None:
    bomb = with_filters((9, 7, 1), [0], 100_000_000)
    tracemalloc.start()
    assert decode([bomb], (9, 7, 1)) == {}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_what_is_not_plain_is_left_to_pillow() -> None:
    grey = np.full((9, 7), 5, np.uint8)
    palette = io.BytesIO()
    Image.fromarray(grey).convert("P").save(palette, "PNG")
    turned = Image.Exif()
    turned[0x0112] = 3
    gamma = PngImagePlugin.PngInfo()
    gamma.add(b"gAMA", (45455).to_bytes(4, "big"))
    others = [
        encode(grey[:8]),
        encode(np.full((9, 7, 3), 5, np.uint8)),
        encode(grey.astype(bool)),
        palette.getvalue(),
        encode(grey.astype(np.uint16)),
        encode(grey, exif=turned),
        encode(grey, pnginfo=gamma),
        encode(grey, transparency=5),
        encode(grey, "JPEG"),
        b"",
    ]
    assert decode(others, (9, 7, 1)) == {}
    assert list(decode([encode(grey)], (9, 7, 1))) == [0]
    assert decode([encode(grey)], (9, 7, 2)) == {}


def test_large_images_are_left_to_pillow() -> None:
    largest = (1, SMALL_BYTES, 1)
    larger = (1, SMALL_BYTES + 1, 1)
    for shape in (largest, larger):
        content = encode(np.zeros(shape, np.uint8))
        assert list(decode([content], shape)) == ([0] if shape == largest else [])


def test_a_damaged_file_among_plain_ones_is_found(tmp_path: Path) -> None:
    shape = (9, 7, 1)
    store = JobStore(tmp_path)
    contents = pictures(shape, 6)
    damaged = bytearray(contents[2])
    damaged[len(damaged) // 2] ^= 255
    other = encode(np.full((20, 20, 3), 9, np.uint8), "JPEG")
    files = [*contents[:2], bytes(damaged), *contents[3:5], other]
    job = file_job(store, [image_file(content) for content in files], batch_size=6)
    reader = BatchReader(store.of(job), 0, shape, Preprocessing(), StorageSettings())
    pixels, errors = reader.read_span(range(reader.count), {4: "skipped"}, Phases(), Progress())
    assert set(errors) == {2, 4}
    assert "damaged image" in errors[2]
    for good in (0, 1, 3, 5):
        np.testing.assert_array_equal(pixels[good], reader.read(good))
    assert not pixels[[2, 4]].any()
