"""One batch: read its pixels, classify them, and make an error record of every bad image."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from storage.errors import ImageError
from storage.images import Pixels, Shape, decode_image, fit_pixels
from storage.inputs import ArrayInputs, ImageFile, read_pack
from storage.jobs import Job, JobStore
from storage.results import FAILED, BatchResult
from storage.settings import StorageSettings

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


class BatchReader:
    """The images of one batch as a model's pixels, one by one or all at once."""

    def __init__(
        self, store: JobStore, job: Job, batch: int, shape: Shape, settings: StorageSettings
    ) -> None:
        self._store = store
        self._shape = shape
        self._settings = settings
        span = job.span(batch)
        self.count = len(span)
        self._array: Pixels | None = None
        self._files: list[ImageFile] = []
        if isinstance(job.inputs, ArrayInputs):
            self._array = store.open_array(job)[span.start : span.stop]
        else:
            self._files = read_pack(store.pack_path(job, batch))

    def read(self, position: int) -> Pixels:
        """Pixels (H, W, C) of one image; raises `ImageError`."""
        if self._array is not None:
            return fit_pixels(self._array[position], self._shape)
        content = self._files[position].read(
            self._store.root, max_bytes=self._settings.max_image_bytes
        )
        return decode_image(content, self._shape, max_pixels=self._settings.max_image_pixels)

    def read_all(self, skip: Mapping[int, str]) -> tuple[Pixels, dict[int, str]]:
        """Pixels (N, H, W, C) of the whole batch, and the reason for each image that has none.

        A failed image is all zeros: the batch keeps its shape, so that the other images' scores
        are the same to the last bit with or without it.
        """
        whole = self._whole_array()
        if whole is not None and not skip:
            return whole, {}
        pixels = np.zeros((self.count, *self._shape), np.uint8)
        errors = dict(skip)
        for position in range(self.count):
            if position not in skip:
                try:
                    pixels[position] = self.read(position)
                except ImageError as error:
                    errors[position] = str(error)
        return pixels, errors

    def _whole_array(self) -> Pixels | None:
        """The batch as a view of the memory-mapped array, when no image has to be converted."""
        if self._array is None or self._array.dtype != np.uint8:
            return None
        shape = self._array.shape[1:]
        if shape == self._shape or (*shape, 1) == self._shape:
            return self._array.reshape(self.count, *self._shape)
        return None


def classify_batch(
    job: Job, reader: BatchReader, classify: Classify, skip: Mapping[int, str], phases: Phases
) -> BatchResult:
    """Predict every image; those in `skip` become errors with the reason given there."""
    with phases("read"):
        pixels, errors = reader.read_all(skip)
    with phases("predict"):
        predictions, scores = classify(pixels)
    failed = sorted(errors)
    predictions[failed] = FAILED
    scores[failed] = 0.0
    return BatchResult(model=job.model, predictions=predictions, scores=scores, errors=errors)
