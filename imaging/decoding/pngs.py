"""Many small PNG files at once: the pixels that Pillow gives, in a sixth of the time.

Opening a file costs Pillow more than 28 x 28 pixels do. So the lines of many files are inflated one
by one, put into one tall image, and left to Pillow's decoder together.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from PIL import Image

from imaging.images import MODE_OF_CHANNELS, Pixels, Shape

SMALL_BYTES = 32_768
"""Pixels of one image, at most: with more, decoding costs so much that opening no longer shows."""
TALL_BYTES = 4_000_000
"""Pixels of one tall image, more or less: memory must not grow with the batch."""

COLOUR_OF_CHANNELS = {1: 0, 3: 2, 4: 6}
END = b"\0\0\0\0IEND\xaeB`\x82"
FILTERS = bytes(range(5))


def decode_plain_pngs(contents: Mapping[int, bytes], shape: Shape, pixels: Pixels) -> set[int]:
    """Fill `pixels` (N, H, W, C) at the positions of the plain PNG files, and return these.

    Plain is a file of a header, one chunk with all pixels of `shape` as they stand, 8 bits each,
    and an end. All else, damaged files as well, is for `decode_image`.
    """
    height, width, channels = shape
    if channels not in COLOUR_OF_CHANNELS or height * width * channels > SMALL_BYTES:
        return set()
    start, line = plain_start(shape), 1 + width * channels
    step = max(1, TALL_BYTES // (height * line))
    decoded: set[int] = set()
    positions = list(contents)
    for first in range(0, len(positions), step):
        plain = {}
        for position in positions[first : first + step]:
            lines = inflate(contents[position], start, height * line)
            if lines is not None and not lines[::line].strip(FILTERS):
                plain[position] = lines
        if plain:
            pixels[list(plain)] = unfilter(list(plain.values()), shape)
            decoded |= plain.keys()
    return decoded


@cache
def plain_start(shape: Shape) -> bytes:
    """How a plain file of this shape begins: signature and header, with its checksum."""
    height, width, channels = shape
    header = b"IHDR" + struct.pack(
        ">IIBBBBB", width, height, 8, COLOUR_OF_CHANNELS[channels], 0, 0, 0
    )
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + struct.pack(">I", zlib.crc32(header))


def inflate(content: bytes, start: bytes, size: int) -> bytes | None:
    """The filtered lines of a plain file; none when it is another, or damaged.

    As with Pillow, the checksum within the compressed lines counts, not that of their chunk.
    """
    at = len(start) + 8
    length = len(content) - at - 4 - len(END)
    chunk = struct.pack(">I", max(0, length)) + b"IDAT"
    if not (content.startswith(start) and content[at - 8 : at] == chunk and content.endswith(END)):
        return None
    stream = zlib.decompressobj()
    try:
        lines = stream.decompress(content[at : at + length], size + 1)
    except zlib.error:
        return None
    return lines if stream.eof and len(lines) == size else None


def unfilter(images: Sequence[bytes], shape: Shape) -> Pixels:
    """Pixels (N, H, W, C) of the filtered lines of images.

    A blank line above each keeps it from being predicted from its neighbour's last line.
    """
    height, width, channels = shape
    count, blank = len(images), bytes(1 + width * channels)
    stream = zlib.compress(blank.join([b"", *images]), 0)
    mode = MODE_OF_CHANNELS[channels]
    tall = Image.frombytes(mode, (width, count * (height + 1)), stream, "zip", mode)
    pixels: Pixels = np.asarray(tall, np.uint8).reshape(count, height + 1, width, channels)[:, 1:]
    return pixels
