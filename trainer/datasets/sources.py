"""What a data set can be made from: `folder:DIR`, `list:FILE.csv`, `npz:FILE`, and others."""

import re
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib.npyio import NpzFile

from imaging.preprocessing import Preprocessing
from storage.datasets.store import DataSet, DatasetStore
from storage.errors import Corrupt, NotFound
from storage.files import check_name
from storage.settings import StorageSettings
from trainer.datasets.arrays import (
    LabelledArrays,
    LabelledImages,
    as_images,
    as_labels,
    numbered_classes,
)
from trainer.datasets.cifar import read_cifar
from trainer.datasets.class_folders import SplitRule
from trainer.datasets.downloads import Downloads
from trainer.datasets.idx import read_idx_folder
from trainer.datasets.image_folder import ON_WHITE, add_image_files
from trainer.datasets.known_datasets import KNOWN, ensure_dataset
from trainer.errors import SourceError

KINDS = "folder:DIR, list:FILE.csv, npz:FILE, idx:DIR or cifar:DIR"
KIND_OF = {".csv": "list", ".tsv": "list", ".jsonl": "list", ".npz": "npz"}
"""What a file without a prefix is, by its suffix; a folder is one of images."""


def with_kind(source: str) -> str:
    """A source with its prefix: `digits` becomes `folder:digits` where there is such a folder."""
    if not source or re.match("(folder|list|npz|idx|cifar|job):", source):
        return source
    path = Path(source).expanduser()
    kind = "folder" if path.is_dir() else KIND_OF.get(path.suffix.lower())
    return f"{kind}:{source}" if kind else source


def add_dataset(
    store: DatasetStore,
    downloads: Downloads,
    name: str,
    source: str | None = None,
    *,
    rule: SplitRule | None = None,
    size: tuple[int, int] | None = None,
    preprocessing: Preprocessing = ON_WHITE,
    settings: StorageSettings | None = None,
    strict: bool = False,
    replace: bool = False,
) -> DataSet:
    """Import `source`, or what `name` is known for, as the data set `name`.

    The same content again is left as it is; other content raises `AlreadyExists` unless `replace`.
    """
    check_name(name, "data set name")
    if source is None:
        return _add_known(store, downloads, name, replace=replace)
    kind, _, where = with_kind(source).partition(":")
    path = Path(where).expanduser().resolve()
    origin = f"{kind}:{path}"
    known = KNOWN.get(name)
    match kind:
        case "folder" | "list" if where:
            if (kind == "folder") != path.is_dir() and path.exists():
                raise SourceError(f"{source!r}: a folder is folder:DIR, a table list:FILE.csv.")
            return add_image_files(
                store,
                name,
                path,
                rule=rule or SplitRule(),
                settings=settings or StorageSettings(),
                size=size,
                preprocessing=preprocessing,
                strict=strict,
                replace=replace,
            )
        case "idx" if where:
            arrays = read_idx_folder(path, origin, known.classes if known else ())
        case "npz" if where:
            arrays = read_npz(path, origin)
        case "cifar" if where:
            arrays = read_cifar(path, origin)
        case _:
            raise SourceError(f"{source!r} is no folder and no source of images: write {KINDS}.")
    if known:
        known.check(arrays)
    return arrays.save(store, name, replace=replace)


def read_npz(path: Path, origin: str) -> LabelledArrays:
    """Read x_train, y_train, x_test and y_test, and the class names from `classes` if there."""
    train, names = read_npz_split(path, "train", origin)
    test, _ = read_npz_split(path, "test", origin)
    classes = names or numbered_classes(train.labels, test.labels)
    return LabelledArrays(train=train, test=test, classes=classes, origin=origin)


def read_npz_split(path: Path, split: str, origin: str) -> tuple[LabelledImages, tuple[str, ...]]:
    """Read x_train and y_train, say, and the class names if there are any."""
    try:
        wanted = {f"x_{split}", f"y_{split}", "classes"}
        with path.open("rb") as file, _open_npz(file) as members:
            arrays = {key: members[key] for key in wanted.intersection(members.files)}
        part = LabelledImages(
            images=as_images(arrays[f"x_{split}"], origin),
            labels=as_labels(arrays[f"y_{split}"], origin),
        )
        return part, tuple(str(name) for name in arrays.get("classes", ()))
    except KeyError as error:
        raise SourceError(
            f"{path} has no array {error}: x_{split} and y_{split} are needed."
        ) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise SourceError(f"{path} cannot be read as an .npz file of arrays ({error}).") from None


def _open_npz(file: IO[bytes]) -> NpzFile:
    members = np.load(file, allow_pickle=False)
    if not isinstance(members, NpzFile):
        raise ValueError("it is a single array")
    return members


def _add_known(store: DatasetStore, downloads: Downloads, name: str, *, replace: bool) -> DataSet:
    if name not in KNOWN:
        try:
            return store.get(name)
        except (NotFound, Corrupt):
            raise SourceError(
                f"{name!r} is not known by name, as {', '.join(KNOWN)} are: "
                f"give a source after it, {KINDS}."
            ) from None
    if replace:
        return KNOWN[name].fetch(downloads).save(store, name, replace=True)
    return ensure_dataset(store, downloads, name)
