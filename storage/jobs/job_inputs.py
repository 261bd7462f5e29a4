"""The inputs of one job where they lie: in its own folder, or elsewhere on storage."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imaging.images import Pixels
from storage.datasets.store import Labels
from storage.errors import Corrupt
from storage.files import resolve_inside
from storage.jobs.inputs import (
    ImageFiles,
    Pack,
    PackedColumns,
    read_columns,
    read_ids,
    read_pack,
)
from storage.jobs.job import Job

if TYPE_CHECKING:
    import pyarrow as pa


class JobInputs:
    """Opens what a job was submitted with; raises `Corrupt` for what is damaged or missing."""

    def __init__(self, root: Path, folder: Path, job: Job) -> None:
        self._root = root
        self._folder = folder / "inputs"
        self._job = job

    def pack_path(self, batch: int) -> Path:
        """The packed image files of one batch."""
        return self._folder / pack_name(batch)

    def read_pack(self, batch: int) -> ImageFiles:
        """The image files of one batch, their bytes included."""
        return read_pack(self.pack_path(batch))

    def open_pack(self, batch: int) -> Pack:
        """The same for whoever wants a few of them."""
        return Pack(self.pack_path(batch))

    def read_columns(self, batch: int) -> PackedColumns:
        """Who the image files of one batch are."""
        return read_columns(self.pack_path(batch))

    def open_array(self) -> Pixels:
        """Memory-mapped images (N, H, W[, C]) of a job over arrays.

        Raises `Corrupt` when the file is not the one that was submitted.
        """
        inputs = self._job.array
        assert inputs
        path = resolve_inside(self._root, inputs.images)
        try:
            stat = path.stat()
        except FileNotFoundError:
            raise Corrupt(f"The images of job {self._job.id} are gone: {path}.") from None
        if (stat.st_size, stat.st_mtime_ns) != (inputs.size, inputs.mtime_ns):
            raise Corrupt(
                f"The images of job {self._job.id} have changed since it was submitted: {path}. "
                "Submit them again."
            )
        images: Pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        return images

    def open_labels(self) -> Labels | None:
        """Memory-mapped labels (N,) of a job over arrays, if it has any."""
        assert self._job.array
        if self._job.array.labels is None:
            return None
        path = resolve_inside(self._root, self._job.array.labels)
        labels: Labels = np.load(path, mmap_mode="r", allow_pickle=False)
        return labels

    def read_ids(self, span: range) -> "pa.Array | None":
        """Some ids of a job over arrays, none where positions are its ids."""
        assert self._job.array
        if self._job.array.ids is None:
            return None
        return read_ids(resolve_inside(self._root, self._job.array.ids), span)


def pack_name(batch: int) -> str:
    """File name of a packed batch."""
    return f"{batch:06d}.arrow"
