"""Sources that are arrays already: in memory, splits of data sets, `.npy` and `.npz` files.

An array on storage is referenced; any other is copied into the job once, in pieces.
"""

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from producer.errors import EmptySource, SourceError, UnknownLabel
from producer.sources import Prepared, Request, list_briefly
from storage.datasets import DatasetStore
from storage.files import sha256_of
from storage.inputs import UNLABELLED, ArrayInputs, write_ids
from storage.jobs import JobDraft

PIECE_BYTES = 4_000_000
MOST_DISTINCT_LABELS = 100_000


class DataSetSource:
    """A split of a data set on storage, written `mnist:test`, or `mnist@2:test` for a version."""

    def __init__(self, description: str, root: Path) -> None:
        self.description = description
        name, _, self._split = description.partition(":")
        self._data = DatasetStore(root).get(name)
        self._data.split(self._split)

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return self._data.name

    def prepare(self, draft: JobDraft, request: Request) -> Prepared:
        """Reference the images, and the labels too when the model has the same classes."""
        split = self._data.split(self._split)
        total = limited(split.count, request, self.description)
        if self._data.description.classes == request.labels:
            labels = relative(self._data.labels_path(self._split), request.root)
            identity = split.labels_sha256
        else:
            values = self._data.labels(self._split)[:total]
            writer = NpyWriter(draft.inputs / "labels.npy", np.dtype(np.int32), (total,))
            with writer:
                writer.write(self._mapped(values, request))
            labels, identity = job_input(request, "labels.npy"), writer.sha256
        return prepared(
            request,
            total,
            inputs=reference(self._data.images_path(self._split), request.root, labels),
            labelled=total,
            identities=(split.images_sha256, identity),
        )

    def _mapped(self, values: NDArray[np.int32], request: Request) -> NDArray[np.int32]:
        """The split's labels as indices into the model's labels."""
        classes = self._data.description.classes
        unknown = [
            classes[i] for i in np.unique(values).tolist() if classes[i] not in request.labels
        ]
        if unknown:
            raise UnknownLabel(unknown_labels(self.description, unknown, request))
        position = {label: i for i, label in enumerate(request.labels)}
        table = np.array([position.get(name, UNLABELLED) for name in classes], dtype=np.int32)
        return table[values]


class ArraySource:
    """An array in memory, with labels and ids if there are any."""

    dataset = None

    def __init__(
        self,
        images: NDArray[Any],
        labels: Iterable[object] | None = None,
        ids: Iterable[object] | None = None,
    ) -> None:
        self.description = f"{images.dtype} array {images.shape}"
        check_images(f"The {self.description}", images.dtype, images.shape)
        self._images = MemoryReader(images)
        self._labels = None if labels is None else MemoryReader(as_labels(labels))
        self._ids = None if ids is None else [plain_text(id) for id in ids]

    def prepare(self, draft: JobDraft, request: Request) -> Prepared:
        """Write images, labels and ids into the job."""
        return pack_arrays(
            self._images, self._labels, self._ids, draft, request, f"The {self.description}"
        )


class NpySource:
    """A `.npy` file: uint8 images (N, H, W) or (N, H, W, C)."""

    dataset = None

    def __init__(self, path: Path) -> None:
        self.description = str(path)
        self._path = path

    def prepare(self, draft: JobDraft, request: Request) -> Prepared:
        """Reference the file when it lies on storage, copy it otherwise."""
        try:
            images = ArrayReader(self.description, lambda: self._path.open("rb"))
            return self._prepare(images, draft, request)
        except (OSError, ValueError, EOFError) as error:
            raise SourceError(
                f"{self.description} is not a readable .npy array ({error})."
            ) from None

    def _prepare(self, images: "ArrayReader", draft: JobDraft, request: Request) -> Prepared:
        check_images(self.description, images.dtype, images.shape)
        total = limited(images.shape[0], request, self.description)
        resolved = self._path.resolve()
        if resolved.is_relative_to(request.root):
            inputs = reference(resolved, request.root)
            identity = f"{inputs.images} {inputs.size} {inputs.mtime_ns}"
        else:
            identity = copy_images(draft, images, total)
            inputs = packed_reference(draft, request)
        return prepared(request, total, inputs=inputs, labelled=0, identities=(identity, ""))


class NpzSource:
    """A `.npz` archive with an array of images and perhaps one of labels."""

    dataset = None

    def __init__(self, path: Path) -> None:
        self.description = str(path)
        self._path = path

    def prepare(self, draft: JobDraft, request: Request) -> Prepared:
        """Unpack images and labels into the job."""
        try:
            with zipfile.ZipFile(self._path) as archive:
                members = {
                    name.removesuffix(".npy"): ArrayReader(name, partial(archive.open, name))
                    for name in archive.namelist()
                }
                return self._prepare(members, draft, request)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise SourceError(
                f"{self.description} is not a readable .npz archive ({error})."
            ) from None

    def _prepare(
        self, members: dict[str, "ArrayReader"], draft: JobDraft, request: Request
    ) -> Prepared:
        name = self._choose_images(members)
        images = members[name]
        check_images(f"{name} in {self.description}", images.dtype, images.shape)
        return pack_arrays(
            images, self._choose_labels(members, name), None, draft, request, self.description
        )

    def _choose_images(self, members: dict[str, "ArrayReader"]) -> str:
        if "images" in members:
            return "images"
        candidates = [name for name, member in members.items() if len(member.shape) in (3, 4)]
        if len(candidates) != 1:
            found = list_briefly(sorted(candidates or members)) or "nothing"
            raise SourceError(
                f"{self.description} has no single array of images (N, H, W) or (N, H, W, C), but "
                f"{found}: name the one to be classified `images`."
            )
        return candidates[0]

    def _choose_labels(
        self, members: dict[str, "ArrayReader"], images: str
    ) -> "ArrayReader | None":
        """The labels that go with the images: `y_test` with `x_test`, `labels` with any."""
        beside = f"y{images[1:]}" if images == "x" or images.startswith("x_") else "labels"
        return next((members[n] for n in (beside, "labels", "y") if n in members), None)


class Reader(Protocol):
    """An array that is read in pieces."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def pieces(self, rows: int) -> Iterator[NDArray[Any]]:
        """The first `rows` rows, some megabytes at a time, each piece contiguous."""
        ...


class MemoryReader:
    """An array in memory, in any order, contiguous or not."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self.shape: tuple[int, ...] = array.shape
        self.dtype = array.dtype

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
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
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


def as_labels(labels: Iterable[object]) -> NDArray[Any]:
    """Labels as an array of numbers or text; None and NaN, as pandas has them, are unlabelled."""
    try:
        array = np.asarray(labels if isinstance(labels, np.ndarray) else list(labels))
    except ValueError:
        raise SourceError("The labels are no list of single values: give one per image.") from None
    if array.dtype.kind not in "OT":
        return array
    return np.array(["" if label is None or label != label else str(label) for label in array])


def plain_text(id: object) -> str:
    """An id as text that UTF-8 can hold."""
    return str(id).encode("utf-8", "replace").decode("utf-8")


def pack_arrays(
    images: Reader,
    labels: Reader | None,
    ids: Sequence[str] | None,
    draft: JobDraft,
    request: Request,
    source: str,
) -> Prepared:
    """Write images, and labels and ids if there are any, as the job's own files."""
    count = images.shape[0]
    if labels is not None and labels.shape != (count,):
        raise SourceError(
            f"{source} has {count} images, but labels of the shape {labels.shape}: give one label "
            "per image."
        )
    if ids is not None and len(ids) != count:
        raise SourceError(
            f"{source} has {count} images, but there are {len(ids)} ids: give one id per image."
        )
    total = limited(count, request, source)
    identities = [copy_images(draft, images, total), ""]
    inputs = packed_reference(draft, request)
    labelled = 0
    if labels is not None:
        labelled, identities[1] = write_labels(labels, total, draft, request, source)
        inputs = inputs.model_copy(update={"labels": job_input(request, "labels.npy")})
    if ids is not None:
        write_ids(draft.inputs / "ids.arrow", ids[:total])
        identities.append(sha256_of(draft.inputs / "ids.arrow"))
        inputs = inputs.model_copy(update={"ids": job_input(request, "ids.arrow")})
    return prepared(request, total, inputs=inputs, labelled=labelled, identities=identities)


def write_labels(
    labels: Reader, total: int, draft: JobDraft, request: Request, source: str
) -> tuple[int, str]:
    """Write labels as indices; returns how many there are and the digest of the file."""
    table = label_table(labels, total, source, request)
    writer = NpyWriter(draft.inputs / "labels.npy", np.dtype(np.int32), (total,))
    labelled = 0
    with writer:
        for piece in labels.pieces(total):
            values, inverse = np.unique(piece, return_inverse=True)
            indices = np.array([table[v] for v in values.tolist()], dtype=np.int32)[inverse]
            labelled += int((indices != UNLABELLED).sum())
            writer.write(indices)
    return labelled, writer.sha256


def label_table(labels: Reader, total: int, source: str, request: Request) -> dict[int | str, int]:
    """Which label index each value of a labels array means.

    Text is a label's name. A number is one too when all of them are names; else it is an index
    into the model's labels, as in the arrays that come with data sets. -1 and "" mean unlabelled.
    """
    if labels.dtype.kind not in "iuU":
        raise SourceError(f"The labels in {source} are {labels.dtype}: use whole numbers or text.")
    distinct: set[int | str] = set()
    for piece in labels.pieces(total):
        distinct.update(np.unique(piece).tolist())
        if len(distinct) > MOST_DISTINCT_LABELS:
            raise SourceError(f"The labels in {source} are all different: they name no classes.")
    known = distinct - {-1, ""}
    position: dict[int | str, int]
    if all(str(value) in request.labels for value in known):
        position = {value: request.labels.index(str(value)) for value in known}
    elif all(isinstance(value, int) and value in range(len(request.labels)) for value in known):
        position = {value: int(value) for value in known}
    else:
        unknown = sorted(str(value) for value in known if str(value) not in request.labels)
        raise UnknownLabel(unknown_labels(source, unknown, request))
    return {**position, -1: UNLABELLED, "": UNLABELLED}


def unknown_labels(source: str, unknown: list[str], request: Request) -> str:
    """The sentence for labels that the model does not have."""
    return (
        f"{source} has labels that {request.model} does not know ({list_briefly(unknown)}): "
        f"it knows {list_briefly(list(request.labels))}."
    )


def check_images(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Raise `SourceError` unless an array holds uint8 images."""
    if dtype != np.uint8:
        raise SourceError(
            f"{name} holds {dtype}: give pixels of 0 to 255 as uint8, which for pixels of 0 to 1 "
            "is (x * 255).round().astype('uint8')."
        )
    if len(shape) not in (3, 4):
        raise SourceError(
            f"{name} has the shape {shape}: images are (N, H, W) or (N, H, W, C), a single one "
            "becomes such with x[np.newaxis]."
        )


def limited(count: int, request: Request, source: str) -> int:
    """How many of `count` images the job takes; raises `EmptySource` for none."""
    total = count if request.limit is None else min(count, request.limit)
    if total == 0:
        raise EmptySource(f"{source} holds no images: there is nothing to classify.")
    return total


def copy_images(draft: JobDraft, images: Reader, total: int) -> str:
    """Write the first `total` images as the job's own array; returns the digest of the file."""
    shape = (total, *images.shape[1:])
    writer = NpyWriter(draft.inputs / "images.npy", np.dtype(np.uint8), shape)
    with writer:
        for piece in images.pieces(total):
            writer.write(piece)
    return writer.sha256


def reference(path: Path, root: Path, labels: str | None = None) -> ArrayInputs:
    """Inputs over an array that lies on storage."""
    stat = path.stat()
    return ArrayInputs(
        images=relative(path, root), labels=labels, size=stat.st_size, mtime_ns=stat.st_mtime_ns
    )


def packed_reference(draft: JobDraft, request: Request) -> ArrayInputs:
    """Inputs over the job's own array, which the draft holds."""
    stat = (draft.inputs / "images.npy").stat()
    images = job_input(request, "images.npy")
    return ArrayInputs(images=images, size=stat.st_size, mtime_ns=stat.st_mtime_ns)


def relative(path: Path, root: Path) -> str:
    """A path on storage as messages and jobs name it."""
    return path.relative_to(root).as_posix()


def job_input(request: Request, name: str) -> str:
    """Where a file of the draft's inputs will lie once the job is committed."""
    return f"jobs/{request.job_id}/inputs/{name}"


def prepared(
    request: Request, total: int, *, inputs: ArrayInputs, labelled: int, identities: Sequence[str]
) -> Prepared:
    """A job over an array."""
    return Prepared(
        total=total,
        labelled=labelled,
        batch_size=request.batch_size_for(total, request.array_batch_size),
        inputs=inputs,
        fingerprint=array_fingerprint(identities, total),
    )


def array_fingerprint(identities: Sequence[str], total: int) -> str:
    """Digest of what identifies the files of images, labels and ids, and how many rows count."""
    return hashlib.sha256("\n".join(["array", *identities, str(total)]).encode()).hexdigest()
