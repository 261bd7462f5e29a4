"""Named, labelled images on shared storage, as arrays that can be memory-mapped.

    datasets/<name>/<n>/dataset.json             shape, classes, counts, digests, origin
    datasets/<name>/<n>/<split>_images.npy       uint8 (N, H, W, C)
    datasets/<name>/<n>/<split>_labels.npy       int32 (N,), indices into the classes

A version never changes: other content is another version.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.lib.format import (
    header_data_from_array_1_0,
    open_memmap,
    write_array_header_1_0,
)
from numpy.typing import NDArray
from pydantic import AwareDatetime, BaseModel, ValidationError, computed_field

from imaging.fingerprints import Fingerprints, fingerprints
from imaging.images import Pixels, Shape
from imaging.preprocessing import DEFAULT, Preprocessing
from storage.errors import AlreadyExists, Corrupt, NotFound
from storage.files import (
    check_name,
    draft_folder,
    list_folders,
    make_folder,
    sha256_of,
    sync_folder,
    sync_tree,
    write_atomically,
)

Labels = NDArray[np.int32]

FIRST = 1
DESCRIPTION_FILE = "dataset.json"


class Split(BaseModel, frozen=True):
    """One part of a data set, with the digests of its two files."""

    count: int
    images_sha256: str
    labels_sha256: str


class Parent(BaseModel, frozen=True):
    """The version that was the newest when another one was made."""

    number: int
    sha256: str


class Appended(BaseModel, frozen=True):
    """Images that were added to the training split later."""

    source: str
    added: int
    """They follow those that were there before, in the order of their adding."""
    corrected: int
    """Images that were there already and got another label."""


class DataSetDescription(BaseModel, frozen=True):
    """What `dataset.json` says."""

    name: str
    number: int
    parent: Parent | None
    shape: Shape
    preprocessing: Preprocessing
    """How its pictures became pixels of that shape: its models want the same."""
    classes: tuple[str, ...]
    splits: dict[str, Split]
    origin: str
    """Where the images come from, but for those that were appended."""
    appended: tuple[Appended, ...]
    held_out: int
    """Training images whose pixels are in the test split as well: nothing trains on them."""
    created_at: AwareDatetime

    @computed_field  # type: ignore[prop-decorator]
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
        return self.description.name

    @property
    def number(self) -> int:
        return self.description.number

    def __str__(self) -> str:
        return f"{self.name}@{self.number}"

    def images_path(self, split: str) -> Path:
        """The `.npy` file with the images of a split; raises `NotFound` for an unknown split."""
        self.split(split)
        return self.folder / f"{split}_images.npy"

    def labels_path(self, split: str) -> Path:
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
        try:
            return self.description.splits[name]
        except KeyError:
            raise NotFound(
                f"Data set {self} has no split {name!r}, only {', '.join(self.description.splits)}."
            ) from None

    def training_rows(self) -> NDArray[np.int64]:
        """Rows of the training split to train on, ascending: those that are not in test as well."""
        if self.description.held_out == 0:
            return np.arange(self.split("train").count)
        return np.flatnonzero(~self.in_test(fingerprints(self.images("train"))))

    def in_test(self, digests: Fingerprints) -> NDArray[np.bool_]:
        """Which of some images have the pixels of a test image, by their fingerprints (N,)."""
        if "test" not in self.description.splits:
            return np.zeros(len(digests), np.bool_)
        return np.isin(digests, fingerprints(self.images("test")))

    def verify(self) -> None:
        """Read every array and raise `Corrupt` unless all digests match."""
        for name, split in self.description.splits.items():
            expected = (
                (self.images_path(name), split.images_sha256),
                (self.labels_path(name), split.labels_sha256),
            )
            for path, sha256 in expected:
                if not path.is_file() or sha256_of(path) != sha256:
                    raise damaged(self.folder, self.name, f"{path.name} does not match its digest")


class DataSetDraft:
    """A version being written. Fill the arrays it hands out, then `commit`."""

    def __init__(self, folder: Path, shape: Shape, preprocessing: Preprocessing) -> None:
        self.folder = folder
        self.shape = shape
        self.preprocessing = preprocessing
        self.counts: dict[str, int] = {}

    def add_split(self, split: str, count: int) -> tuple[Pixels, Labels]:
        """Two writable memory-mapped arrays: uint8 (count, H, W, C) and int32 (count,)."""
        return self.add_images(split, count), self.add_labels(split, count)

    def add_images(self, split: str, count: int) -> Pixels:
        """The images of a split, to be written: memory-mapped uint8 (count, H, W, C)."""
        self.counts[split] = count
        path = self.folder / f"{split}_images.npy"
        return open_memmap(path, "w+", np.uint8, (count, *self.shape))

    def add_labels(self, split: str, count: int) -> Labels:
        """The labels of a split, to be written: memory-mapped int32 (count,)."""
        return open_memmap(self.folder / f"{split}_labels.npy", "w+", np.int32, (count,))

    def shorten(self, split: str, count: int) -> tuple[Pixels, Labels]:
        """Keep the first `count` images of a split, and give its arrays again."""
        self.counts[split] = count
        images, labels = (
            shorten_array(self.folder / f"{split}_{kind}.npy", count)
            for kind in ("images", "labels")
        )
        return images, labels

    def keep_images(self, split: str, parent: DataSet) -> None:
        """Take the images of another version's split as they are."""
        self.counts[split] = parent.split(split).count
        link_or_copy(parent.images_path(split), self.folder)

    def keep_split(self, split: str, parent: DataSet) -> None:
        """Take another version's split as it is."""
        self.keep_images(split, parent)
        link_or_copy(parent.labels_path(split), self.folder)

    def describe(
        self,
        name: str,
        classes: Sequence[str],
        origin: str,
        *,
        number: int = FIRST,
        parent: Parent | None = None,
        appended: tuple[Appended, ...] = (),
    ) -> DataSetDescription:
        """Digest all arrays, and count the training images that are test images as well."""
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
            number=number,
            parent=parent,
            shape=self.shape,
            preprocessing=self.preprocessing,
            classes=tuple(classes),
            splits=splits,
            origin=origin,
            appended=appended,
            held_out=self._count_held_out(),
            created_at=datetime.now(UTC),
        )

    def _count_held_out(self) -> int:
        if not {"train", "test"} <= self.counts.keys():
            return 0
        train, test = (
            fingerprints(np.load(self.folder / f"{split}_images.npy", mmap_mode="r"))
            for split in ("train", "test")
        )
        return int(np.isin(train, test).sum())


class DatasetStore:
    """All data sets below one storage root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "datasets"

    def names(self) -> list[str]:
        """Names of all data sets, sorted."""
        return [name for name in list_folders(self.folder) if self.numbers(name)]

    def numbers(self, name: str) -> list[int]:
        """Version numbers of a data set, ascending."""
        folder = self.folder / check_name(name, "data set name")
        return sorted(int(entry) for entry in list_folders(folder) if entry.isdecimal())

    def get(self, reference: str) -> DataSet:
        """The newest version of `mnist`, or the one that `mnist@2` means.

        Raises `NotFound` or `Corrupt`.
        """
        name, number = parse_reference(reference)
        numbers = self.numbers(name)
        if not numbers:
            known = ", ".join(self.names()) or "none so far"
            raise NotFound(
                f"There is no data set {name!r} ({known}): add it with `trainer data add {name}`."
            )
        if number is None:
            return self.version(name, numbers[-1])
        if number not in numbers:
            raise NotFound(
                f"Data set {name} has no version {number}, only {', '.join(map(str, numbers))}."
            )
        return self.version(name, number)

    def version(self, name: str, number: int) -> DataSet:
        """Open a version that is there; raises `Corrupt` when its description cannot be read."""
        folder = self.folder / check_name(name, "data set name") / str(number)
        try:
            text = (folder / DESCRIPTION_FILE).read_bytes()
            description = DataSetDescription.model_validate_json(text)
        except (FileNotFoundError, ValidationError):
            raise damaged(folder, name, f"{DESCRIPTION_FILE} cannot be read") from None
        return DataSet(folder, description)

    @contextmanager
    def draft(self, shape: Shape, preprocessing: Preprocessing = DEFAULT) -> Iterator[DataSetDraft]:
        """Begin a version with images of `shape`; nothing is visible before `commit`."""
        with draft_folder(self.folder) as folder:
            yield DataSetDraft(folder, shape, preprocessing)

    def commit(
        self,
        draft: DataSetDraft,
        name: str,
        classes: Sequence[str],
        origin: str,
        *,
        replace: bool = False,
    ) -> DataSet:
        """Make the draft the next version of `name`.

        The content of the newest version gives that one; other content raises `AlreadyExists`
        unless `replace`, which also repairs the arrays of the newest version with the same content.
        """
        numbers = self.numbers(name)
        present = self._newest(name, forgiving=replace)
        description = draft.describe(
            name,
            classes,
            origin,
            number=max(numbers, default=0) + 1,
            parent=parent_of(present) if present else None,
        )
        if present and present.description.sha256 == description.sha256:
            if replace and not is_whole(present):
                repair(present, draft)
            return present
        if present and not replace:
            raise AlreadyExists(
                f"There is already a data set {name} with other content: choose another name, make "
                f"this its next version with --replace, or add to it with `trainer data append`."
            )
        committed = self.publish(draft, description)
        # Else somebody else has added a version meanwhile: it is the one to compare with.
        return committed or self.commit(draft, name, classes, origin, replace=replace)

    def publish(self, draft: DataSetDraft, description: DataSetDescription) -> DataSet | None:
        """Make the draft visible under the number in its description, whole or not at all.

        None when that number was taken meanwhile: of two writers one wins.
        """
        write_atomically(
            draft.folder / DESCRIPTION_FILE, description.model_dump_json(indent=2).encode()
        )
        sync_tree(draft.folder)
        target = make_folder(self.folder / description.name) / str(description.number)
        try:
            draft.folder.rename(target)
        except OSError:
            if not target.exists():
                raise
            return None
        sync_folder(target.parent)
        sync_folder(self.folder)
        return DataSet(target, description)

    def _newest(self, name: str, *, forgiving: bool) -> DataSet | None:
        """The newest version, if there is any that can be read."""
        try:
            return self.get(name)
        except NotFound:
            return None
        except Corrupt:
            if not forgiving:
                raise
            return None


def version_at(path: str) -> str | None:
    """Which version, such as `mnist@2`, a file below the storage root belongs to, if to any."""
    match PurePosixPath(path).parts:
        case ("datasets", name, number, _) if number.isdecimal():
            return f"{name}@{number}"
    return None


def parse_reference(reference: str) -> tuple[str, int | None]:
    """Name and number of `mnist@2`; `mnist` has no number. Raises `BadName` or `NotFound`."""
    name, at, number = reference.partition("@")
    check_name(name, "data set name")
    if at and not re.fullmatch(r"[0-9]{1,9}", number):
        raise NotFound(f"{reference!r} names no version of a data set: write {name}@2, say.")
    return name, int(number) if at else None


def damaged(folder: Path, name: str, fault: str) -> Corrupt:
    """The sentence for a version that cannot be used."""
    number = int(folder.name)
    earlier = f", or remove {folder} to return to the version before it" if number > FIRST else ""
    return Corrupt(
        f"Data set {name}@{number} is damaged: {fault}. "
        f"Add it again with `trainer data add {name} --replace`{earlier}."
    )


def parent_of(dataset: DataSet) -> Parent:
    """What the next version says of this one."""
    return Parent(number=dataset.number, sha256=dataset.description.sha256)


def is_whole(dataset: DataSet) -> bool:
    """Whether all digests match."""
    try:
        dataset.verify()
    except Corrupt:
        return False
    return True


def repair(dataset: DataSet, draft: DataSetDraft) -> None:
    """Put a draft of the same content in the place of a version's arrays, file by file."""
    sync_tree(draft.folder)
    for path in draft.folder.glob("*.npy"):
        path.replace(dataset.folder / path.name)
    sync_folder(dataset.folder)


def shorten_array(path: Path, count: int) -> NDArray[Any]:
    """Cut an `.npy` file off after `count` rows; memory-mapped. Nothing is copied."""
    array = np.load(path, mmap_mode="r")
    header = header_data_from_array_1_0(array[:count])
    start = array.offset
    with path.open("r+b") as file:
        write_array_header_1_0(file, header)
        assert file.tell() == start  # NumPy leaves room for a longer number of rows
        file.truncate(start + count * array[:1].nbytes)
    shortened: NDArray[Any] = np.load(path, mmap_mode="r+")
    return shortened


def link_or_copy(path: Path, folder: Path) -> None:
    """Have a file that never changes in another folder too, as a link where those are possible."""
    try:
        os.link(path, folder / path.name)
    except OSError:
        shutil.copyfile(path, folder / path.name)
