"""Sources that are arrays already: in memory, splits of data sets, `.npy` and `.npz` files.

An array on storage is referenced; any other is copied into the job once, in pieces.
"""

import hashlib
import zipfile
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producer.errors import EmptySource, SourceError, UnknownLabel
from producer.sources.array_ids import as_ids, read_ids
from producer.sources.array_labels import as_array, unknown_labels, write_labels
from producer.sources.array_shapes import as_images
from producer.sources.arrays import ArrayReader, MemoryReader, NpyWriter, Reader
from producer.sources.source import Prepared, Request, list_briefly
from storage.class_names import Classes, canonical
from storage.datasets.store import DatasetStore
from storage.files import sha256_of
from storage.jobs.inputs import UNLABELLED, ArrayInputs, write_ids
from storage.jobs.store import JobDraft
from storage.manifests.columns import fold


class DataSetSource:
    """A split of a data set on storage, written `mnist:test`, or `mnist@2:test` for a version."""

    def __init__(self, description: str, root: Path) -> None:
        self.description = description
        name, _, self._split = description.partition(":")
        self._data = DatasetStore(root).get(name)
        self._data.split(self._split)

    @property
    def dataset(self) -> str:
        return self._data.name

    def prepare(self, draft: JobDraft, request: Request) -> Prepared:
        """Reference the images, and the labels too when the model has the same classes."""
        split = self._data.split(self._split)
        total = limited(split.count, request, self.description)
        if tuple(map(canonical, self._data.description.classes)) == tuple(
            map(canonical, request.labels)
        ):
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
        names = self._data.description.classes
        classes = Classes(request.labels)
        unknown = [names[i] for i in np.unique(values).tolist() if names[i] not in classes]
        if unknown:
            raise UnknownLabel(unknown_labels(self.description, unknown, request))
        return np.array([classes.get(name, UNLABELLED) for name in names], np.int32)[values]


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
        self._images = MemoryReader(images)
        self._labels = None if labels is None else MemoryReader(as_array(labels))
        self._ids = None if ids is None else as_ids(ids, f"The {self.description}")

    def prepare(self, draft: JobDraft, request: Request) -> Prepared:
        """Write images, labels and ids into the job."""
        source = f"The {self.description}"
        images, notes = as_images(source, self._images, request)
        return pack_arrays(images, self._labels, self._ids, draft, request, source, notes)


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

    def _prepare(self, file: ArrayReader, draft: JobDraft, request: Request) -> Prepared:
        images, notes = as_images(self.description, file, request)
        total = limited(images.shape[0], request, self.description)
        resolved = self._path.resolve()
        if images is file and resolved.is_relative_to(request.root):
            inputs = reference(resolved, request.root)
            identity = f"{inputs.images} {inputs.size} {inputs.mtime_ns}"
        else:
            identity = copy_images(draft, images, total)
            inputs = packed_reference(draft, request)
        return prepared(
            request, total, inputs=inputs, labelled=0, identities=(identity, ""), notes=notes
        )


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
        self, members: dict[str, ArrayReader], draft: JobDraft, request: Request
    ) -> Prepared:
        name = self._choose_images(members)
        images, notes = as_images(f"{name} in {self.description}", members[name], request)
        beside = fold(name).replace("x", "y", 1) if fold(name).startswith("x") else "labels"
        labels = self._choose(members, beside, "labels", "label", "y")
        ids = self._choose(members, "ids", "id")
        if unused := sorted(set(members) - {name, labels, ids}):
            verb = "are" if len(unused) > 1 else "is"
            hint = "" if labels else "; labels are read from `labels` or `y`"
            shown = list_briefly([f"`{name}`" for name in unused], 5)
            notes.append(f"In {self.description} {shown} {verb} not used{hint}.")
        return pack_arrays(
            images,
            members[labels] if labels else None,
            read_ids(members[ids], self.description) if ids else None,
            draft,
            request,
            self.description,
            notes,
        )

    def _choose_images(self, members: dict[str, ArrayReader]) -> str:
        if named := self._choose(members, "images"):
            return named
        candidates = [name for name, member in members.items() if len(member.shape) in (3, 4)]
        if len(candidates) != 1:
            found = list_briefly(sorted(candidates or members)) or "nothing"
            raise SourceError(
                f"{self.description} has no single array of images (N, H, W) or (N, H, W, C), but "
                f"{found}: name the one to be classified `images`."
            )
        return candidates[0]

    def _choose(self, members: Iterable[str], *names: str) -> str | None:
        """The first member of one of these names, as `fold` compares them."""
        for name in names:
            found = [member for member in members if fold(member) == name]
            if len(found) > 1:
                raise SourceError(f"{self.description} has {' and '.join(found)}: keep one.")
            if found:
                return found[0]
        return None


def pack_arrays(
    images: Reader,
    labels: Reader | None,
    ids: Sequence[str] | None,
    draft: JobDraft,
    request: Request,
    source: str,
    notes: Sequence[str],
) -> Prepared:
    """Write images, and labels and ids if there are any, as the job's own files."""
    count = images.shape[0]
    if labels is not None and labels.shape not in ((count,), (count, 1)):
        one_hot = "; of one-hot rows that is y.argmax(axis=1)" if len(labels.shape) == 2 else ""
        raise SourceError(
            f"{source} has {count} image{'' if count == 1 else 's'}, but labels of the shape "
            f"{labels.shape}: give one label per image{one_hot}."
        )
    if ids is not None and len(ids) != count:
        raise SourceError(
            f"{source} has {count} image{'' if count == 1 else 's'}, but there are {len(ids)} ids: "
            "give one id per image."
        )
    total = limited(count, request, source)
    identities = [copy_images(draft, images, total), ""]
    inputs = packed_reference(draft, request)
    labelled = 0
    if labels is not None:
        labelled, identities[1], on_labels = write_labels(labels, total, draft, request, source)
        notes = (*notes, *on_labels)
        inputs = inputs.model_copy(update={"labels": job_input(request, "labels.npy")})
    if ids is not None:
        write_ids(draft.inputs / "ids.arrow", ids[:total])
        identities.append(sha256_of(draft.inputs / "ids.arrow"))
        inputs = inputs.model_copy(update={"ids": job_input(request, "ids.arrow")})
    return prepared(
        request, total, inputs=inputs, labelled=labelled, identities=identities, notes=notes
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
    request: Request,
    total: int,
    *,
    inputs: ArrayInputs,
    labelled: int,
    identities: Sequence[str],
    notes: Sequence[str] = (),
) -> Prepared:
    return Prepared(
        total=total,
        labelled=labelled,
        batch_size=request.batch_size_for(total, request.array_batch_size),
        inputs=inputs,
        fingerprint=array_fingerprint(identities, total),
        notes=notes,
    )


def array_fingerprint(identities: Sequence[str], total: int) -> str:
    """Digest of what identifies the files of images, labels and ids, and how many rows count."""
    return hashlib.sha256("\n".join(["array", *identities, str(total)]).encode()).hexdigest()
