"""IDX files, the format in which MNIST and its likes are published.

A header of big-endian numbers, then one byte per pixel or label.
"""

import gzip
import hashlib
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.arrays import LabelledArrays, LabelledImages, as_images, numbered_classes
from trainer.errors import SourceError

Bytes = NDArray[np.uint8]

UNSIGNED_BYTES = 0x08
MOST_GZIP_SAVES = 1100
"""No gzip file grows by more than this factor: what announces more is not read at all."""
PARTS = {"train": "train", "test": "t10k"}


def read_idx_folder(folder: Path, origin: str, classes: tuple[str, ...] = ()) -> LabelledArrays:
    """Read the four files of a folder; classes are numbered unless given."""
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder with IDX files.")
    splits = {split: read_idx_split(folder, split, origin) for split in PARTS}
    labels = [part.labels for part in splits.values()]
    return LabelledArrays(**splits, classes=classes or numbered_classes(*labels), origin=origin)


def read_idx_split(folder: Path, split: str, origin: str) -> LabelledImages:
    return LabelledImages(
        images=as_images(read_idx(find_idx(folder, PARTS[split], "images", 3), 3), origin),
        labels=read_idx(find_idx(folder, PARTS[split], "labels", 1), 1).astype(np.int64),
    )


def find_idx(folder: Path, prefix: str, content: str, dimensions: int) -> Path:
    """`train-images-idx3-ubyte` or the like, gzipped or not, in a folder."""
    stem = f"{prefix}-{content}"
    found = sorted(folder.glob(f"{stem}[-.]idx{dimensions}-ubyte*"))
    if not found:
        raise SourceError(
            f"{folder} has no file {stem}-idx{dimensions}-ubyte or {stem}-idx{dimensions}-ubyte.gz:"
            " all four of train-images, train-labels, t10k-images and t10k-labels are needed."
        )
    return found[0]


def read_idx(path: Path, dimensions: int) -> Bytes:
    """The uint8 array of an IDX file; raises `SourceError` unless it is whole and as expected."""
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            most = path.stat().st_size * (MOST_GZIP_SAVES if zipped else 1)
            content = cast(IO[bytes], gzip.GzipFile(fileobj=file)) if zipped else file
            return _read(content, dimensions, most)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise SourceError(
            f"{path} is no whole IDX file of {dimensions} dimensions ({error}): get it again."
        ) from None


def _read(file: IO[bytes], dimensions: int, most_bytes: int) -> Bytes:
    zeros, kind, count = struct.unpack(">HBB", file.read(4))
    if (zeros, kind, count) != (0, UNSIGNED_BYTES, dimensions):
        raise ValueError("another magic number")
    shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
    size = int(np.prod(shape, dtype=object))
    content = file.read(size + 1) if size <= most_bytes else b""
    if len(content) != size:
        raise ValueError(f"{size:,} bytes were announced")
    return np.frombuffer(content, np.uint8).reshape(shape)


def idx_md5(array: NDArray[np.generic]) -> str:
    """MD5 of the IDX file that an array of byte values would make, as 32 hexadecimal digits."""
    digest = hashlib.md5(usedforsecurity=False)
    digest.update(struct.pack(">HBB", 0, UNSIGNED_BYTES, array.ndim))
    digest.update(struct.pack(f">{array.ndim}I", *array.shape))
    digest.update(array.astype(np.uint8).tobytes())
    return digest.hexdigest()
