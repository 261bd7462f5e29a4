"""How a camera was held: the one tag of a picture's metadata that changes its pixels."""

import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TAG = 0x0112
NUMBERS = {1: "B", 3: "H", 4: "L", 6: "b", 8: "h", 9: "l"}
"""The types of whole numbers in EXIF, as `struct` names them."""
ORDERS: Mapping[bytes, tuple[Literal["little", "big"], str]] = {
    b"II": ("little", "<"),
    b"MM": ("big", ">"),
}
PROFILE = "Raw profile type exif"
XMP = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])")

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture of this orientation upright; 1 is upright."""
LYING = frozenset({5, 6, 7, 8})
"""With these, what is stored as height is the picture's width."""
BACKWARD = frozenset({3, 4, 7, 8})
"""With these, what is stored last is at the top of the picture."""


def turned_size(size: tuple[int, int], turn: int) -> tuple[int, int]:
    """Width and height upright of a picture of this width and height as stored, or the reverse."""
    return (size[1], size[0]) if turn in LYING else size


def read_rows(image: Image.Image, rows: NDArray[np.intp], turn: int) -> NDArray[np.uint8]:
    """Pixels (n, W, C) of these rows, in order, of what the image is when it is turned upright."""
    height = turned_size(image.size, turn)[1]
    read = []
    for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
        first, end = int(run[0]), int(run[-1]) + 1
        if turn in BACKWARD:
            first, end = height - end, height - first
        box = (first, 0, end, image.height) if turn in LYING else (0, first, image.width, end)
        band = image.crop(box)
        band = band.transpose(TURNS[turn]) if turn in TURNS else band
        read.append(np.asarray(band).reshape(band.height, band.width, -1))
    return np.concatenate(read)


def metadata(image: Image.Image) -> tuple[bytes, bytes]:
    """EXIF and XMP of a loaded image that is no JPEG."""
    exif = image.info.get("exif") or b""
    if not exif and (profile := image.info.get(PROFILE)):  # as ImageMagick has written it
        with suppress(ValueError):
            exif = bytes.fromhex("".join(profile.split("\n")[3:]))
    xmp = image.info.get("XML:com.adobe.xmp") or image.info.get("xmp") or b""
    return exif, xmp.encode() if isinstance(xmp, str) else xmp


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """1 to 8 from EXIF, else from XMP; 1 where neither says."""
    found = exif_orientation(exif)
    if found is None and (match := XMP.search(xmp)):
        found = int(match[1])
    return found or 1


def exif_orientation(exif: bytes) -> int | None:
    """1 to 8 from the first directory; none where it has none that can be read.

    All other tags are passed over, whatever their type.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    if exif[:2] not in ORDERS:
        return None
    order, sign = ORDERS[exif[:2]]
    start = int.from_bytes(exif[4:8], order)
    count = int.from_bytes(exif[start : start + 2], order)
    entries = exif[start + 2 : start + 2 + 12 * count]
    whole = entries[: len(entries) // 12 * 12]
    for tag, kind, number, value in struct.iter_unpack(f"{sign}HHL4s", whole):
        format = sign + NUMBERS.get(kind, "")
        if tag == TAG and 0 < number * struct.calcsize(format) <= len(value):
            (found,) = struct.unpack_from(format, value)
            if found in range(1, 9):
                return int(found)
    return None
