"""One batch: read its pixels, classify them, and make an error record of every bad image."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from storage.batches import BatchImages
from storage.errors import ImageError
from storage.images import Pixels
from storage.jobs import Job
from storage.pngs import decode_plain_pngs
from storage.results import FAILED, BatchResult

if TYPE_CHECKING:
    from worker.reuse import Reuse

Classify = Callable[[Pixels], tuple[NDArray[np.int32], NDArray[np.float32]]]


@dataclass
class Phases:
    """Seconds spent in each phase of a batch."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a block under this name."""
        began = perf_counter()
        try:
            yield
        finally:
            spent = self.seconds.get(name, 0.0) + perf_counter() - began
            self.seconds[name] = round(spent, 6)


class BatchReader(BatchImages):
    """The images of one batch as a model's pixels, one by one or all at once."""

    def read_all(self, skip: Mapping[int, str], phases: "Phases") -> tuple[Pixels, dict[int, str]]:
        """Pixels (N, H, W, C) of the whole batch, and the reason for each image that has none.

        A failed image is all zeros: the batch keeps its shape, so that the other images' scores
        are the same to the last bit with or without it.
        """
        with phases("read"):
            whole = self._whole_array()
            if whole is not None and not skip:
                return whole, {}
        pixels = np.zeros((self.count, *self._shape), np.uint8)
        errors = dict(skip)
        positions = [position for position in range(self.count) if position not in skip]
        if self._array is None:
            self._decode_files(positions, pixels, errors, phases)
        else:
            with phases("read"):
                self._fill(pixels, errors, positions, self.read)
        return pixels, errors

    def _decode_files(
        self, positions: Sequence[int], pixels: Pixels, errors: dict[int, str], phases: "Phases"
    ) -> None:
        contents: dict[int, bytes] = {}
        with phases("read"):
            for position in positions:
                try:
                    contents[position] = self._content(position)
                except ImageError as error:
                    errors[position] = str(error)
        with phases("decode"):
            height, width, _ = self._shape
            plain: set[int] = set()
            if height * width <= self._settings.max_image_pixels:
                plain = decode_plain_pngs(contents, self._shape, pixels)
            others = sorted(contents.keys() - plain)
            self._fill(pixels, errors, others, lambda i: self._decode(contents[i]))

    @staticmethod
    def _fill(
        pixels: Pixels,
        errors: dict[int, str],
        positions: Sequence[int],
        read: Callable[[int], Pixels],
    ) -> None:
        for position in positions:
            try:
                pixels[position] = read(position)
            except ImageError as error:
                errors[position] = str(error)

    def _whole_array(self) -> Pixels | None:
        """The batch as a view of the memory-mapped array, when no image has to be converted."""
        if self._array is None or self._array.dtype != np.uint8:
            return None
        shape = self._array.shape[1:]
        if shape == self._shape or (*shape, 1) == self._shape:
            return self._array.reshape(self.count, *self._shape)
        return None


def classify_batch(
    job: Job,
    reader: BatchReader,
    classify: Classify,
    skip: Mapping[int, str],
    phases: Phases,
    reuse: "Reuse | None" = None,
) -> BatchResult:
    """Predict every image; those in `skip` become errors with the reason given there.

    With `reuse` only images that are new to the model are classified.
    """
    pixels, errors = reader.read_all(skip, phases)
    failed = sorted(errors)
    if reuse is None:
        reused = None
        with phases("predict"):
            predictions, scores = classify(pixels)
    else:
        predictions = np.zeros(reader.count, np.int32)
        scores = np.zeros(reader.count, np.float32)
        good = np.setdiff1d(np.arange(reader.count), failed)
        wanted = pixels[good] if failed else pixels
        predictions[good], scores[good], reused = reuse.classify(
            job.model, wanted, classify, phases
        )
    predictions[failed] = FAILED
    scores[failed] = 0.0
    return BatchResult(
        model=job.model, predictions=predictions, scores=scores, errors=errors, reused=reused
    )
