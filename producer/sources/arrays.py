"""Arrays of any size, read and written in pieces: in memory and in `.npy` form."""

import hashlib
import io
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

PIECE_BYTES = 4_000_000


class Reader(Protocol):
    """An array that is read in pieces."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def as_one(self) -> "Reader":
        """The same array as the single row of one."""
        ...

    def pieces(self, rows: int) -> Iterator[NDArray[Any]]:
        """The first `rows` rows, some megabytes at a time, each piece contiguous."""
        ...


class MemoryReader:
    """An array in memory, in any order, contiguous or not."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self.shape: tuple[int, ...] = array.shape
        self.dtype = array.dtype

    def as_one(self) -> "MemoryReader":
        """The same array as the single row of one."""
        return MemoryReader(self._array[np.newaxis])

    def pieces(self, rows: int) -> Iterator[NDArray[Any]]:
        """The first `rows` rows, some megabytes at a time, each piece contiguous."""
        step = rows_per_piece(self.dtype, self.shape)
        for first in range(0, rows, step):
            yield np.ascontiguousarray(self._array[first : min(first + step, rows)])


class ArrayReader:
    """An array in `.npy` form, read in pieces: neither mapped nor loaded as a whole.

    Raises `ValueError`, `OSError` or `EOFError` for what is no such array.
    """

    def __init__(self, name: str, open_file: Callable[[], IO[bytes]]) -> None:
        self._name = name
        self._open_file = open_file
        with open_file() as file:
            self.shape, self._fortran, self.dtype = read_header(file)

    def as_one(self) -> "ArrayReader":
        """The same array as the single row of one."""
        one = copy(self)
        one.shape = (1, *self.shape)
        return one

    def pieces(self, rows: int) -> Iterator[NDArray[Any]]:
        """The first `rows` rows, some megabytes at a time."""
        if self._fortran and len(self.shape) > 1:
            raise ValueError(f"{self._name} is in Fortran order, save np.ascontiguousarray(x)")
        row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:]))
        step = rows_per_piece(self.dtype, self.shape)
        with self._open_file() as file:
            read_header(file)
            for first in range(0, rows, step):
                count = min(step, rows - first)
                content = file.read(count * row_bytes)
                if len(content) != count * row_bytes:
                    raise ValueError(f"{self._name} ends too early")
                yield np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])


def rows_per_piece(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """How many rows are read at once."""
    row_bytes = dtype.itemsize * int(np.prod(shape[1:]))
    return max(1, PIECE_BYTES // max(1, row_bytes))


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and type of the array that follows in the file."""
    first_version = npy_format.read_magic(file) == (1, 0)
    read = npy_format.read_array_header_1_0 if first_version else npy_format.read_array_header_2_0
    shape, fortran, dtype = read(file)  # an array of Python objects is told by its type
    return shape, fortran, dtype


class NpyWriter:
    """Writes a `.npy` file piece by piece and digests it on the way."""

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._file = path.open("wb")
        self._digest = hashlib.sha256()
        header = io.BytesIO()
        description = npy_format.dtype_to_descr(dtype)
        npy_format.write_array_header_1_0(
            header, {"descr": description, "fortran_order": False, "shape": shape}
        )
        self._put(header.getvalue())

    def write(self, rows: NDArray[Any]) -> None:
        """Append contiguous rows."""
        self._put(rows.data.cast("B") if rows.size else b"")

    @property
    def sha256(self) -> str:
        """Digest of the whole file so far."""
        return self._digest.hexdigest()

    def __enter__(self) -> "NpyWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _put(self, content: bytes | memoryview) -> None:
        self._digest.update(content)
        self._file.write(content)
