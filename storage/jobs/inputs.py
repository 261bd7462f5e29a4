"""What a job's images are: a slice of arrays that lie on storage, or image files packed by batch.

Image files are packed into one Arrow file per batch, so that a million of them make a few
hundred files. Large ones that already lie on storage are referenced instead: nobody has to read
them before the first batch is sent.
"""

import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from imaging.errors import ImageError, file_too_large
from storage.errors import Corrupt, UnsafePath
from storage.files import FileStamp, read_inside, write_atomically

UNLABELLED = -1
OTHER = "+"
"""Begins the name of a packed column that is the user's own."""


class ArrayInputs(BaseModel, frozen=True, extra="forbid"):
    """Images as one `.npy` array on storage; paths are relative to the storage root."""

    kind: Literal["arrays"] = "arrays"
    images: str
    """uint8 (N, H, W, C) or (N, H, W)."""
    labels: str | None = None
    """int32 (N,), indices into the model's labels."""
    ids: str | None = None
    """Arrow file with a string per image; without it an image's position is its id."""
    size: int
    """Bytes of the images file when the job was submitted."""
    mtime_ns: int
    """Its time of change then: a file replaced later must not be mixed into the job."""


class FileInputs(BaseModel, frozen=True, extra="forbid"):
    """Encoded images, packed as `inputs/<batch>.arrow` in the job's folder."""

    kind: Literal["files"] = "files"


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """One encoded image of a job.

    Either `content` is packed, or `stored` says where it lies, or `refused` why it was not taken.
    """

    id: str
    path: str
    """The path the user gave."""
    label: int = UNLABELLED
    sha256: bytes | None = None
    """Digest of the encoded bytes (32 bytes), where they were read when the job was submitted."""
    content: bytes | None = None
    stored: str | None = None
    """Path relative to the storage root."""
    stamp: FileStamp | None = None
    """What the file that lies there had then."""
    refused: str | None = None
    """Reason for an error record, known when the job was submitted: unreadable, too large."""

    def read(self, root: Path, *, max_bytes: int, folders: dict[str, str] | None = None) -> bytes:
        """The encoded bytes; raises `ImageError` when they have gone, changed or are too large.

        `folders` is kept between calls by those who read many, see `read_inside`.
        """
        if self.refused is not None:
            raise ImageError(self.refused)
        if self.content is not None:
            if hashlib.sha256(self.content).digest() != self.sha256:
                raise ImageError("packed file does not match its digest: the pack is damaged")
            return self.content
        try:
            known = {} if folders is None else folders
            content, stamp = read_inside(root, self.stored or "", max_bytes, known)
        except UnsafePath as error:
            raise ImageError(str(error)) from None
        except OSError as error:
            if error.errno == errno.EFBIG:
                raise file_too_large(max_bytes) from None
            raise ImageError(f"file cannot be read: {error.strerror}") from None
        if not self._is_same(content, stamp):
            raise ImageError("file has changed since the job was submitted")
        return content

    def _is_same(self, content: bytes, stamp: FileStamp) -> bool:
        if self.stamp is not None:
            return stamp == self.stamp
        return hashlib.sha256(content).digest() == self.sha256  # as earlier versions submitted


@dataclass(frozen=True, kw_only=True)
class ImageFiles:
    """The image files of one batch, a list per field of `ImageFile`.

    Of small files an object each would cost more than reading them.
    """

    ids: list[str]
    paths: list[str]
    labels: list[int]
    digests: list[bytes | None]
    contents: list[bytes | None]
    stored: list[str | None]
    stamps: list[FileStamp | None]
    refused: list[str | None]
    others: dict[str, list[str]] = field(default_factory=dict)
    """What columns of the user's own say of each, by their names."""

    @classmethod
    def empty(cls) -> "ImageFiles":
        """No file yet, to be filled."""
        return cls(
            ids=[],
            paths=[],
            labels=[],
            digests=[],
            contents=[],
            stored=[],
            stamps=[],
            refused=[],
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, position: int) -> ImageFile:
        return ImageFile(
            id=self.ids[position],
            path=self.paths[position],
            label=self.labels[position],
            sha256=self.digests[position],
            content=self.contents[position],
            stored=self.stored[position],
            stamp=self.stamps[position],
            refused=self.refused[position],
        )

    def __iter__(self) -> Iterator[ImageFile]:
        return (self[position] for position in range(len(self)))

    def read(self, position: int, root: Path, *, max_bytes: int, folders: dict[str, str]) -> bytes:
        """The encoded bytes of one, as `ImageFile.read` gives them."""
        content = self.contents[position]
        if content is not None and hashlib.sha256(content).digest() == self.digests[position]:
            return content  # by far the most: no object is made for them
        return self[position].read(root, max_bytes=max_bytes, folders=folders)


@dataclass(frozen=True, kw_only=True)
class PackedColumns:
    """Who the images of a packed batch are, without their bytes."""

    ids: list[str]
    paths: list[str]
    labels: NDArray[np.int32]
    others: dict[str, list[str]]


def write_pack(path: Path, files: ImageFiles) -> None:
    """Pack one batch of image files into one Arrow file."""
    import pyarrow as pa

    columns = {
        "id": pa.array(files.ids, pa.string()),
        "path": pa.array(files.paths, pa.string()),
        "label": pa.array(files.labels, pa.int32()),
        "sha256": pa.array(files.digests, pa.binary(32)),
        "stored": pa.array(files.stored, pa.string()),
        "size": pa.array([stamp and stamp.size for stamp in files.stamps], pa.int64()),
        "mtime_ns": pa.array([stamp and stamp.mtime_ns for stamp in files.stamps], pa.int64()),
        "refused": pa.array(files.refused, pa.string()),
        "content": pa.array(files.contents, pa.large_binary()),
        **{OTHER + name: pa.array(texts, pa.string()) for name, texts in files.others.items()},
    }
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    write_atomically(path, sink.getvalue(), durable=False)


def read_pack(path: Path) -> ImageFiles:
    """The images of one packed batch, in order; raises `Corrupt` for a damaged pack."""
    return _image_files(_read_table(path))


class Pack:
    """A packed batch that stays open, memory-mapped; raises `Corrupt` for a damaged one."""

    def __init__(self, path: Path) -> None:
        self._table = _read_table(path)

    def image(self, position: int) -> ImageFile:
        """One image; the bytes of the others are not read."""
        return _image_files(self._table.slice(position, 1))[0]


def read_columns(path: Path) -> PackedColumns:
    """Ids, paths and labels of one packed batch; the image bytes are not read."""
    table = _read_table(path)
    return PackedColumns(
        ids=table["id"].to_pylist(),
        paths=table["path"].to_pylist(),
        labels=table["label"].to_numpy().astype(np.int32),
        others=_others(table),
    )


def _others(table) -> dict[str, list[str]]:  # type: ignore[no-untyped-def]
    names = [name for name in table.column_names if name.startswith(OTHER)]
    return {name.removeprefix(OTHER): table[name].to_pylist() for name in names}


def _image_files(table) -> ImageFiles:  # type: ignore[no-untyped-def]
    return ImageFiles(
        ids=table["id"].to_pylist(),
        paths=table["path"].to_pylist(),
        labels=table["label"].to_pylist(),
        digests=table["sha256"].to_pylist(),
        contents=table["content"].to_pylist(),
        stored=table["stored"].to_pylist(),
        stamps=_stamps(table),
        refused=table["refused"].to_pylist(),
        others=_others(table),
    )


def _stamps(table) -> list[FileStamp | None]:  # type: ignore[no-untyped-def]
    if "size" not in table.column_names:
        return [None] * len(table)  # a pack of an earlier version
    columns = table["size"].to_pylist(), table["mtime_ns"].to_pylist()
    return [
        None if size is None else FileStamp(size, mtime_ns)
        for size, mtime_ns in zip(*columns, strict=True)
    ]


def write_ids(path: Path, ids: Sequence[str]) -> None:
    """Write the ids of a job over arrays."""
    import pyarrow as pa

    table = pa.table({"id": pa.chunked_array([pa.array(ids, pa.string())])})
    with (
        pa.OSFile(os.fsencode(path), "wb") as file,
        pa.ipc.new_file(file, table.schema) as writer,
    ):
        writer.write_table(table, max_chunksize=100_000)


def read_ids(path: Path, span: range):  # type: ignore[no-untyped-def]
    """Some of the ids that `write_ids` wrote, an Arrow array; raises `Corrupt`."""
    import pyarrow as pa

    ids = _read_table(path)["id"].slice(span.start, len(span))
    return pa.concat_arrays(ids.chunks)


def _read_table(path: Path):  # type: ignore[no-untyped-def]
    import pyarrow as pa

    try:
        with pa.memory_map(os.fsencode(path)) as source:
            return pa.ipc.open_file(source).read_all()
    except (OSError, pa.ArrowException) as error:
        raise Corrupt(f"The inputs {path} are damaged or missing ({error}).") from None
