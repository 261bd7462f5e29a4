"""Named, labelled images on shared storage, as arrays that can be memory-mapped.

datasets/<name>/dataset.json                 shape, classes, counts, digests, origin
datasets/<name>/<split>_images.npy           uint8 (N, H, W, C)
datasets/<name>/<split>_labels.npy           int32 (N,), indices into the classes
"""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from pydantic import AwareDatetime, BaseModel, ValidationError

from storage.errors import AlreadyExists, Corrupt, NotFound
from storage.files import (
    check_name,
    draft_folder,
    list_folders,
    sha256_of,
    sync_folder,
    sync_tree,
    write_atomically,
)
from storage.images import Pixels, Shape

Labels = NDArray[np.int32]


class Split(BaseModel, frozen=True):
    """One part of a data set, with the digests of its two files."""

    count: int
    images_sha256: str
    labels_sha256: str


class DataSetDescription(BaseModel, frozen=True):
    """What `dataset.json` says."""

    name: str
    shape: Shape
    classes: tuple[str, ...]
    splits: dict[str, Split]
    origin: str
    created_at: AwareDatetime

    @property
    def sha256(self) -> str:
        """One digest for the whole content: equal for equal images, labels and classes."""
        parts = [repr(self.shape), *self.classes]
        for name, split in sorted(self.splits.items()):
            parts += [name, split.images_sha256, split.labels_sha256]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class DataSet:
    """A data set on shared storage, opened for reading."""

    def __init__(self, folder: Path, description: DataSetDescription) -> None:
        self.folder = folder
        self.description = description

    @property
    def name(self) -> str:
        """The name it was added under."""
        return self.description.name

    def images_path(self, split: str) -> Path:
        """The `.npy` file with the images of a split; raises `NotFound` for an unknown split."""
        self.split(split)
        return self.folder / f"{split}_images.npy"

    def labels_path(self, split: str) -> Path:
        """The `.npy` file with the labels of a split."""
        self.split(split)
        return self.folder / f"{split}_labels.npy"

    def images(self, split: str) -> Pixels:
        """Memory-mapped uint8 images (N, H, W, C)."""
        images: Pixels = np.load(self.images_path(split), mmap_mode="r", allow_pickle=False)
        return images

    def labels(self, split: str) -> Labels:
        """Memory-mapped int32 class indices (N,)."""
        labels: Labels = np.load(self.labels_path(split), mmap_mode="r", allow_pickle=False)
        return labels

    def split(self, name: str) -> Split:
        """The description of one split."""
        try:
            return self.description.splits[name]
        except KeyError:
            raise NotFound(
                f"Data set {self.name} has no split {name!r}, only "
                f"{', '.join(self.description.splits)}."
            ) from None

    def verify(self) -> None:
        """Read every array and raise `Corrupt` unless all digests match."""
        for name, split in self.description.splits.items():
            expected = (
                (self.images_path(name), split.images_sha256),
                (self.labels_path(name), split.labels_sha256),
            )
            for path, sha256 in expected:
                if not path.is_file() or sha256_of(path) != sha256:
                    raise Corrupt(
                        f"Data set {self.name} is damaged: {path.name} does not match its digest. "
                        f"Add it again with `trainer data add {self.name} --replace`."
                    )


class DataSetDraft:
    """A data set being written. Fill the arrays it hands out, then `commit`."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self.folder = folder
        self.shape = shape
        self.counts: dict[str, int] = {}

    def add_split(self, split: str, count: int) -> tuple[Pixels, Labels]:
        """Two writable memory-mapped arrays: uint8 (count, H, W, C) and int32 (count,)."""
        self.counts[split] = count
        images = open_memmap(
            self.folder / f"{split}_images.npy", "w+", np.uint8, (count, *self.shape)
        )
        labels = open_memmap(self.folder / f"{split}_labels.npy", "w+", np.int32, (count,))
        return images, labels

    def describe(self, name: str, classes: Sequence[str], origin: str) -> DataSetDescription:
        """Digest all arrays."""
        splits = {
            split: Split(
                count=count,
                images_sha256=sha256_of(self.folder / f"{split}_images.npy"),
                labels_sha256=sha256_of(self.folder / f"{split}_labels.npy"),
            )
            for split, count in self.counts.items()
        }
        return DataSetDescription(
            name=name,
            shape=self.shape,
            classes=tuple(classes),
            splits=splits,
            origin=origin,
            created_at=datetime.now(UTC),
        )


class DatasetStore:
    """All data sets below one storage root."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "datasets"

    def names(self) -> list[str]:
        """Names of all data sets, sorted."""
        return list_folders(self.folder)

    def get(self, name: str) -> DataSet:
        """Open a data set; raises `NotFound` or `Corrupt`."""
        folder = self.folder / check_name(name, "data set name")
        try:
            text = (folder / "dataset.json").read_bytes()
        except FileNotFoundError:
            known = ", ".join(self.names()) or "none so far"
            raise NotFound(
                f"There is no data set {name!r} ({known}): add it with `trainer data add {name}`."
            ) from None
        try:
            return DataSet(folder, DataSetDescription.model_validate_json(text))
        except ValidationError:
            raise Corrupt(
                f"Data set {name} is damaged: dataset.json cannot be read. "
                f"Add it again with `trainer data add {name} --replace`."
            ) from None

    @contextmanager
    def draft(self, shape: Shape) -> Iterator[DataSetDraft]:
        """Begin a data set with images of `shape`; nothing is visible before `commit`."""
        with draft_folder(self.folder) as folder:
            yield DataSetDraft(folder, shape)

    def commit(
        self,
        draft: DataSetDraft,
        name: str,
        classes: Sequence[str],
        origin: str,
        *,
        replace: bool = False,
    ) -> DataSet:
        """Make the draft visible under `name`.

        The same content under the same name is left as it is; other content raises
        `AlreadyExists` unless `replace`.
        """
        target = self.folder / check_name(name, "data set name")
        description = draft.describe(name, classes, origin)
        if target.exists() and not replace:
            present = self.get(name)
            if present.description.sha256 == description.sha256:
                return present
            raise AlreadyExists(
                f"There is already a data set {name} with other content: "
                "choose another name, or replace it with --replace."
            )
        write_atomically(
            draft.folder / "dataset.json", description.model_dump_json(indent=2).encode()
        )
        sync_tree(draft.folder)
        if target.exists():
            with draft_folder(self.folder) as discarded:
                target.rename(discarded / "replaced")
                draft.folder.rename(target)
                shutil.rmtree(discarded / "replaced")
        else:
            try:
                draft.folder.rename(target)
            except OSError:
                if not target.exists():
                    raise
                # Somebody else has added it meanwhile.
                return self.commit(draft, name, classes, origin, replace=replace)
        sync_folder(self.folder)
        return DataSet(target, description)
