"""What a JPEG file is made of: its metadata, which may be anything, and its picture.

Decoders make up what is missing of a picture. That it is all there shows only by the mark at its
end, which is looked for here from marker to marker: a thumbnail within has one of its own.
"""

import re
from dataclasses import dataclass

from imaging.errors import ImageError

SIGNATURE = b"\xff\xd8\xff"
MARKER = re.compile(rb"\xff+([^\x00\xff])")
MARKER_IN_SCAN = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
"""Compressed pixels hold FF only before 0 and in the marks of a restart."""

END = 0xD9
SCAN = 0xDA
EXIF = (0xE1, b"Exif\0\0")
XMP = (0xE1, b"http://ns.adobe.com/xap/1.0/\0")
PROFILE = (0xE2, b"ICC_PROFILE\0")
METADATA = {*range(0xE1, 0xF0), 0xFE} - {0xEE}
"""Segments of applications, but for those of JFIF and Adobe: they say what colours mean."""
BETWEEN_SCANS = {SCAN, 0xC4, 0xCC, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE}


@dataclass(frozen=True, kw_only=True)
class Jpeg:
    """One JPEG file, taken apart."""

    picture: bytes
    """The file with nothing but its picture: with several, as in MPO, the first."""
    exif: bytes = b""
    xmp: bytes = b""
    profile: bytes = b""
    """What its colours mean, as ICC says it."""


def read_jpeg(content: bytes) -> Jpeg:
    """Take a file apart; raises `ImageError` when its picture does not come to an end.

    What cannot be followed up to the picture is left to the decoder as it is.
    """
    kept = [content[:2]]
    metadata = {EXIF: b"", XMP: b""}
    profile: list[bytes] = []
    at = 2
    while marker := MARKER.match(content, at):
        kind, end = marker[1][0], segment_end(content, marker.end())
        if kind == SCAN:
            kept.append(content[at : picture_end(content, end)])
            return Jpeg(
                picture=b"".join(kept),
                exif=metadata[EXIF],
                xmp=metadata[XMP],
                profile=b"".join(part[2:] for part in sorted(profile)),  # numbered: 1 of 3
            )
        for name in metadata:
            if kind == name[0] and content.startswith(name[1], marker.end() + 2):
                metadata[name] += content[marker.end() + 2 + len(name[1]) : end]
        if kind == PROFILE[0] and content.startswith(PROFILE[1], marker.end() + 2):
            profile.append(content[marker.end() + 2 + len(PROFILE[1]) : end])
        if kind not in METADATA:
            kept.append(content[at:end])
        at = end
    return Jpeg(picture=content)


def picture_end(content: bytes, at: int) -> int:
    """Where the picture ends whose compressed pixels begin at this place."""
    while marker := MARKER_IN_SCAN.search(content, at):
        kind = marker[1][0]
        if kind == END:
            return marker.end()
        if kind not in BETWEEN_SCANS:
            break
        at = segment_end(content, marker.end())
    raise ImageError("damaged image: its end is missing")


def segment_end(content: bytes, at: int) -> int:
    """Where a segment ends whose length stands at this place."""
    return at + max(2, int.from_bytes(content[at : at + 2]))
