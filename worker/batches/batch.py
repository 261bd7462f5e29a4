"""One batch: read its pixels, classify them, and make an error record of every bad image."""

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from celery.exceptions import SoftTimeLimitExceeded

from imaging.errors import ImageError
from imaging.images import Pixels, Shape
from imaging.pngs import decode_plain_pngs
from imaging.preprocessing import Preprocessing
from storage.errors import StorageAway
from storage.identity import require_source
from storage.jobs.batches import BatchImages
from storage.jobs.results import FAILED, BatchResult
from storage.jobs.store import Job, JobStore, modified
from storage.settings import StorageSettings
from worker.batches.phases import Phases
from worker.batches.reuse import Reuse
from worker.runtimes.predictor import Predictor, likeliest

log = logging.getLogger(__name__)

NOT_OF_AN_IMAGE = (SoftTimeLimitExceeded, StorageAway, MemoryError)
"""What goes wrong while an image is read, but not because of it."""


class BatchReader(BatchImages):
    """The images of one batch as a model's pixels, one by one or all at once.

    Whatever an image raises is that image's record, and the others go on. Raises `StorageAway` when
    the folder of a file is not mounted here.
    """

    def __init__(
        self,
        store: JobStore,
        job: Job,
        batch: int,
        shape: Shape,
        preprocessing: Preprocessing,
        settings: StorageSettings,
    ) -> None:
        super().__init__(store, job, batch, shape, preprocessing, settings)
        self._submitted = modified(store.path(job.id) / "job.json")

    def read_all(self, skip: Mapping[int, str], phases: Phases) -> tuple[Pixels, dict[int, str]]:
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
        self, positions: Sequence[int], pixels: Pixels, errors: dict[int, str], phases: Phases
    ) -> None:
        contents: dict[int, bytes] = {}
        with phases("read"):
            for position in positions:
                try:
                    contents[position] = self._content(position)
                except NOT_OF_AN_IMAGE:
                    raise
                except Exception as error:
                    errors[position] = reason_of(error)
        with phases("decode"):
            plain = self._decode_plain(contents, pixels)
            others = sorted(contents.keys() - plain)
            self._fill(pixels, errors, others, lambda i: self._decode(contents[i]))

    def _decode_plain(self, contents: Mapping[int, bytes], pixels: Pixels) -> set[int]:
        """Decode all at once what can be; returns which images are done."""
        height, width, _ = self._shape
        if height * width > self._settings.max_image_pixels or not self._preprocessing.keeps:
            return set()
        try:
            return decode_plain_pngs(contents, self._shape, pixels)
        except NOT_OF_AN_IMAGE:
            raise
        except Exception:
            log.exception("The images of a batch are decoded one by one.")
            pixels[list(contents)] = 0
            return set()

    def _content(self, position: int) -> bytes:
        """The encoded bytes; raises `ImageError` only when storage is there and they are not."""
        try:
            return super()._content(position)
        except ImageError:
            assert self._files is not None
            if stored := self._files.stored[position]:
                require_source(self._store.root, stored, self._submitted)
                return super()._content(position)  # it may have come back between the two looks
            raise

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
            except NOT_OF_AN_IMAGE:
                raise
            except Exception as error:
                errors[position] = reason_of(error)

    def _whole_array(self) -> Pixels | None:
        """The batch as a view of the memory-mapped array, when no image has to be converted."""
        if self._array is None or self._array.dtype != np.uint8 or not self._preprocessing.keeps:
            return None
        shape = self._array.shape[1:]
        if shape == self._shape or (*shape, 1) == self._shape:
            return self._array.reshape(self.count, *self._shape)
        return None


def reason_of(error: Exception) -> str:
    """Why an image has no prediction; it may have raised what nobody has foreseen."""
    if isinstance(error, ImageError):
        return str(error)
    return f"unexpected error: {type(error).__name__}: {error}"[:300]


def classify_batch(
    job: Job,
    reader: BatchReader,
    predictor: Predictor,
    skip: Mapping[int, str],
    phases: Phases,
    reuse: Reuse | None = None,
) -> BatchResult:
    """Predict every image; those in `skip` become errors with the reason given there.

    With `reuse` only images that are new to the model are classified.
    """
    pixels, errors = reader.read_all(skip, phases)
    failed = sorted(errors)
    if reuse is None:
        reused = None
        with phases("predict"):
            predictions, scores = likeliest(predictor(pixels))
    else:
        predictions = np.zeros(reader.count, np.int32)
        scores = np.zeros(reader.count, np.float32)
        good = np.setdiff1d(np.arange(reader.count), failed)
        wanted = pixels[good] if failed else pixels
        predictions[good], scores[good], reused = reuse.classify(
            job.model, wanted, predictor, phases
        )
    predictions[failed] = FAILED
    scores[failed] = 0.0
    return BatchResult(
        model=job.model, predictions=predictions, scores=scores, errors=errors, reused=reused
    )
