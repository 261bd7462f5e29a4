"""Damage that decoders do not see: they make up what is missing, or take zeros for pixels.

An upload that broke off often leaves a file of the right length whose rest is zeros.
"""

import io
import zlib
from collections.abc import Callable, Mapping

from PIL import Image

from imaging.decoding.chunks import png_chunks, webp_chunks
from imaging.errors import ImageError

BYTES_OF_PIXEL = 8
"""At most: four channels of 16 bits."""
BLOCK = 1 << 20
EQUAL_BYTES = 32
"""So many equal bytes at the end of its pixels are worth a second look at a file."""
SPARE_BYTES = 16
"""More than a whole file has beyond its last pixel."""


def check_whole(content: bytes, image: Image.Image) -> None:
    """Raise `ImageError` when pixels are missing from an opened file; JPEG has `read_jpeg`."""
    is_whole = WHOLE.get(image.format or "")
    if is_whole is not None and not is_whole(content, image):
        raise ImageError("damaged image: its end is missing")


def is_whole_png(content: bytes, image: Image.Image) -> bool:
    """Whether all chunks of pixels have the right checksum, or else the pixels have it."""
    pixels = [chunk for chunk in png_chunks(content) if chunk.name == b"IDAT"]
    if all(chunk.intact for chunk in pixels):
        return True
    stream, left = zlib.decompressobj(), BYTES_OF_PIXEL * (image.width + 1) * image.height
    rest = b"".join(chunk.content for chunk in pixels)
    try:
        while rest and not stream.eof and left > 0:
            left -= len(stream.decompress(rest, BLOCK))
            rest = stream.unconsumed_tail
    except zlib.error:
        return False
    return stream.eof


def is_whole_webp(content: bytes, image: Image.Image) -> bool:
    """Whether the equal bytes at the end, if there are many, are needed for the picture.

    Those of a plain area are: without some of them it does not decode.
    """
    for chunk in webp_chunks(content):
        if chunk.name in (b"VP8 ", b"VP8L"):
            equal = len(chunk.content) - len(chunk.content.rstrip(chunk.content[-1:]))
            return equal < EQUAL_BYTES or not decodes(chunk.name, chunk.content[:-SPARE_BYTES])
    return True


def decodes(name: bytes, pixels: bytes) -> bool:
    """Whether WebP pixels are a picture."""
    padded = pixels + b"\0" * (len(pixels) % 2)
    riff = b"WEBP" + name + len(pixels).to_bytes(4, "little") + padded
    file = io.BytesIO(b"RIFF" + len(riff).to_bytes(4, "little") + riff)
    try:
        with Image.open(file, formats=["WEBP"]) as image:
            image.load()
    except OSError:
        return False
    return True


def is_whole_bmp(content: bytes, image: Image.Image) -> bool:
    """Whether the zeros at the end may be black pixels.

    They may, unless they begin within a row after a whole row's worth of pixels of which none is
    black. All that is known of a BMP file is its size.
    """
    start = int.from_bytes(content[10:14], "little")
    row = (image.width * int.from_bytes(content[28:30], "little") + 31) // 32 * 4
    pixels = content[start : start + row * image.height]
    end = len(pixels.rstrip(b"\0"))
    before = pixels[max(0, end - row) : end]
    begins_within_row = end > row and end % row != 0
    return not (begins_within_row and len(pixels) - end > row and b"\0" * 4 not in before)


WHOLE: Mapping[str, Callable[[bytes, Image.Image], bool]] = {
    "PNG": is_whole_png,
    "WEBP": is_whole_webp,
    "BMP": is_whole_bmp,
}
