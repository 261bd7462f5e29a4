"""Which files are images: formats by Pillow's names, and how their files are called."""

import re
from functools import cache
from os import PathLike

from PIL import Image

SUFFIXES_OF = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".mpo"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
}
"""A line more is a format more."""
FORMATS = tuple(SUFFIXES_OF)
SUFFIXES = frozenset(suffix for suffixes in SUFFIXES_OF.values() for suffix in suffixes)
IN_WORDS = "PNG, JPEG, BMP, GIF, WebP, TIFF, AVIF, HEIC"
BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1")
"""What files of HEIC call themselves first; those of AVIF as well, if its own brand follows."""
WEB_PAGE = (b"<!doctype html", b"<html")
FIRST_BYTES = 132
"""Enough to tell images from other files."""
FIRST_OF_IMAGES = re.compile(
    rb"\x89PNG\r\n|\xff\xd8\xff|GIF8|BM.{12}[\x0c-\x7c]\0\0\0|RIFF.{4}WEBP"
    rb"|II[*+]\0|MM\0[*+]|.{4}ftyp(avi[fs]|hei[cmsx]|hev[cmsx]|mif1|msf1|crx )"
    rb"|\xff\x0a|\0{3}\x0cJXL |\0{3}\x0cjP  |\xff\x4f\xff\x51|II\xbc\1"  # JPEG XL, 2000, XR
    rb"|8BPS|gimp xcf|DDS |v/1\1|#\?RAD|qoif|SIMPLE  =|.{128}DICM"
    rb"|IIU\0|IIR[OS]|MMOR|FUJIFILMCCD|FOVb|P[1-6]\s+[\d#]|(<\?xml[^>]*>\s*)?<svg",  # raw files
    re.DOTALL,
)
"""How files of images begin, of supported formats and others."""


def begins_like_an_image(file: str | PathLike[str]) -> bool:
    """Whether a file is an image by its first bytes; False for one that cannot be read."""
    try:
        with open(file, "rb", buffering=0) as opened:  # noqa: PTH123 (of many: no need of a Path)
            return FIRST_OF_IMAGES.match(opened.read(FIRST_BYTES)) is not None
    except OSError:
        return False


def is_heic(content: bytes) -> bool:
    """Whether a file says that it is of HEIC."""
    brands = content[8 : int.from_bytes(content[:4])]
    return content[4:8] == b"ftyp" and brands[:4] in BRANDS and b"avif" not in brands


def formats_for(content: bytes) -> tuple[str, ...]:
    """What Pillow may take a file for, by its first bytes: of HEIC it knows only by its extra."""
    if is_heic(content) and can_read_heic():
        return FORMATS
    return tuple(format for format in FORMATS if format != "HEIF")


def why_not_opened(content: bytes) -> str:
    """The reason why Pillow knows nothing to do with a file, judged by its first bytes."""
    start = content[:64]
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(WEB_PAGE):
        return "not an image but a web page"
    for format in formats_for(content):
        if (is_format := Image.OPEN[format][1]) and is_format(start) is True:
            return f"damaged image, or a kind of {format} that is not read: convert it to 8 bits"
    return f"not an image of a supported format ({IN_WORDS})"


@cache
def can_read_heic() -> bool:
    """Whether Pillow can: its decoder is an extra, since its patents are not free everywhere."""
    try:
        from pillow_heif import HeifImageFile, register_heif_opener
    except ImportError:
        return False
    register_heif_opener(thumbnails=False)
    return HeifImageFile.format in Image.OPEN
