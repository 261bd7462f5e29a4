"""What a user submits, and what every kind of it must come to: the images of a job.

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imaging.image_folders import PassedOver, is_meant_as_image
from imaging.images import Shape
from producer.errors import SourceError
from storage.files import NAME_PATTERN
from storage.jobs.inputs import ArrayInputs, FileInputs
from storage.jobs.store import JobDraft

FEWEST_IMAGES = 16
"""Smaller batches than this cost more than they spread."""
BATCHES_OF_A_SMALL_JOB = 10
"""A small job is cut into this many batches: enough to keep every core of a few machines busy and
to show progress, few enough that the queue (some 5 ms per batch) stays in the shade."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a source needs to know of the job that it becomes."""

    root: Path
    """Storage root: what lies below is referenced, small files excepted; all else is copied."""
    job_id: str
    model: str
    """The model version, to be named in errors."""
    labels: tuple[str, ...]
    """The model's labels."""
    shape: Shape
    """What the model takes, (H, W, C)."""
    limit: int | None
    """Take only this many images, the first ones."""
    batch_size: int | None
    """The user's own choice."""
    array_batch_size: int
    file_batch_size: int
    max_image_bytes: int
    follow_links: bool = False
    """Whether symbolic links of a folder are followed wherever they lead."""

    def batch_size_for(self, total: int, most: int) -> int:
        """Images per batch for a job of `total`, at most `most` unless the user chose otherwise."""
        spread = max(FEWEST_IMAGES, -(-total // BATCHES_OF_A_SMALL_JOB))
        return self.batch_size or min(most, spread)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A source whose images lie on storage, ready to be a job."""

    total: int
    labelled: int
    batch_size: int
    inputs: ArrayInputs | FileInputs
    fingerprint: str
    """Hexadecimal SHA-256 over what identifies the images, their order and their labels."""
    notes: Sequence[str] = field(default=())
    """What the user should know, one sentence each."""
    passed_over: PassedOver = field(default_factory=dict)
    """What of a folder was not taken."""


class Source(Protocol):
    """One kind of source."""

    description: str
    """The source in the user's words."""

    @property
    def dataset(self) -> str | None:
        """The data set the images come from: a model of its name suggests itself."""
        ...

    def prepare(self, draft: JobDraft, request: Request) -> Prepared:
        """Put into the draft what does not lie on storage yet; raises `SourceError`.

        Streams: memory does not grow with the number of images, but for the names of files.
        """
        ...


def open_source(
    sources: Sequence[str | os.PathLike[str] | NDArray[Any]],
    root: Path,
    *,
    labels: Iterable[object] | None = None,
    ids: Iterable[object] | None = None,
) -> Source:
    """Recognise the kind of source; raises `SourceError` when it is none."""
    from producer.sources.array_sources import ArraySource, DataSetSource, NpySource, NpzSource
    from producer.sources.file_sources import FilesSource, FolderSource
    from producer.sources.manifest_source import ManifestSource
    from producer.sources.table_reader import SUFFIXES as TABLES

    if len(sources) == 1 and isinstance(sources[0], np.ndarray):
        return ArraySource(sources[0], labels, ids)
    if labels is not None or ids is not None:
        raise SourceError(
            "labels= and ids= go with one array in memory: other sources bring their own."
        )
    arguments = []
    for source in sources:
        if not isinstance(source, str | os.PathLike):
            raise SourceError(
                "Submit one NumPy array of images, np.asarray(x), or names of files, folders and "
                f"data sets: this is a {type(source).__name__}."
            )
        arguments.append(os.fspath(source))
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


def list_briefly(names: Sequence[str], most: int = 10) -> str:
    """Names for a sentence, cut short when they are many."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
