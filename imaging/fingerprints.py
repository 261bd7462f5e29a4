"""Digests of pixels, one per image: which images are the same, told without comparing all pairs."""

import struct
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from imaging.images import Pixels

DIGEST_BYTES = 16
PIECE_BYTES = 16_000_000

Fingerprints = NDArray[np.bytes_]


def fingerprints(images: Pixels) -> Fingerprints:
    """The digest of each of uint8 images (N, H, W, C), as an array (N,) that can be sorted.

    Read in pieces: memory grows by the digests alone, 16 bytes per image.
    """
    step = max(1, PIECE_BYTES // max(1, images[:1].nbytes))
    digests = bytearray()
    for start in range(0, len(images), step):
        piece = np.ascontiguousarray(images[start : start + step])
        rows = struct.iter_unpack(f"{piece[0].nbytes}s", piece.data.cast("B"))
        digests += b"".join([blake2b(row, digest_size=DIGEST_BYTES).digest() for (row,) in rows])
    return np.frombuffer(bytes(digests), f"S{DIGEST_BYTES}")
