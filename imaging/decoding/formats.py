"""Which files are images: formats by Pillow's names, and how their files are called."""

from functools import cache

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
