"""Recognises what a user submits.

an array in memory          `ArraySource`
mnist:test, mnist@2:test    `DataSetSource`, a split of a data set on storage, or of one version
images.npy, images.npz      `NpySource`, `NpzSource`, uint8 arrays
a folder                    `FolderSource`, image files, with class subfolders or without
list.csv, .tsv, .jsonl      `ManifestSource`, image files named line by line
a.png b.png ...             `FilesSource`
"""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.image_folders import is_meant_as_image
from producer.errors import SourceError
from producer.sources.array_sources import ArraySource, DataSetSource, NpySource, NpzSource
from producer.sources.file_sources import FilesSource, FolderSource
from producer.sources.manifest_source import ManifestSource
from producer.sources.source import Source
from storage.files import NAME_PATTERN
from storage.manifests.table_reader import SUFFIXES as TABLES


def open_source(
    sources: Sequence[str | os.PathLike[str] | NDArray[Any]],
    root: Path,
    *,
    labels: Iterable[object] | None = None,
    ids: Iterable[object] | None = None,
) -> Source:
    """Recognise the kind of source; raises `SourceError` when it is none."""
    if len(sources) == 1 and isinstance(sources[0], np.ndarray):
        return ArraySource(sources[0], labels, ids)
    if labels is not None or ids is not None:
        raise SourceError(
            "labels= and ids= go with one array in memory: other sources bring their own."
        )
    arguments = []
    usage = (
        "Submit one NumPy array of images, np.asarray(x), or names of files, folders and data sets"
    )
    if not sources:
        raise SourceError(f"{usage}.")
    for source in sources:
        if not isinstance(source, str | os.PathLike):
            raise SourceError(f"{usage}: this is a {type(source).__name__}.")
        arguments.append(os.fspath(source))
        if not arguments[-1]:
            raise SourceError(
                "One of the names to submit is empty, as of a shell variable that is not set: "
                "name files, folders and data sets; . is the working folder."
            )
    if len(arguments) != 1:
        return FilesSource([Path(argument) for argument in arguments])
    argument = arguments[0]
    path = Path(argument)
    if path.is_dir():
        return FolderSource(path)
    if path.exists():
        match path.suffix.lower():
            case ".npy":
                return NpySource(path)
            case ".npz":
                return NpzSource(path)
            case suffix if suffix in TABLES:
                return ManifestSource(path)
        if is_meant_as_image(path):
            return FilesSource([path])
        raise SourceError(
            f"{argument} is no source: give a data set and split such as mnist:test, a folder, "
            "a manifest (.csv, .tsv, .jsonl), an array (.npy, .npz) or image files."
        )
    if re.fullmatch(f"{NAME_PATTERN}(@[0-9]+)?:{NAME_PATTERN}", argument):
        return DataSetSource(argument, root)
    raise SourceError(
        f"There is no file or folder {argument}; for a data set name its split, as in mnist:test."
    )
