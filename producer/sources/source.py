"""What every kind of source must come to: the images of a job."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from imaging.image_folders import PassedOver
from imaging.images import Shape
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
    strict: bool = False
    """Whether a folder's images of formats that are not supported become errors, one by one."""

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


def list_briefly(names: Sequence[str], most: int = 10) -> str:
    """Names for a sentence, cut short when they are many."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
