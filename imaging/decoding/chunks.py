"""The chunks of PNG and WebP files, without looking into them."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True)
class Chunk:
    name: bytes
    content: bytes
    intact: bool = True
    """Whether its checksum is right, where there is one."""


def png_chunks(content: bytes) -> Iterator[Chunk]:
    """The chunks of a PNG file before its end, as far as they go; others may follow that."""
    at = len(PNG)
    while at + 12 <= len(content) and (name := content[at + 4 : at + 8]) != b"IEND":
        end = at + 8 + int.from_bytes(content[at : at + 4])
        yield Chunk(
            name=name,
            content=content[at + 8 : end],
            intact=zlib.crc32(content[at + 4 : end]).to_bytes(4) == content[end : end + 4],
        )
        at = end + 4


def webp_chunks(content: bytes) -> Iterator[Chunk]:
    """The chunks of a WebP file, as far as they go."""
    at = 12
    while at + 8 <= len(content):
        end = at + 8 + int.from_bytes(content[at + 4 : at + 8], "little")
        yield Chunk(name=content[at : at + 4], content=content[at + 8 : end])
        at = end + end % 2
