"""One batch: read its pixels, classify them, and make an error record of every bad image."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from evaluation.ranking import Probabilities, Ranking
from imaging.errors import ImageError
from imaging.images import Pixels, Shape
from imaging.preprocessing import Preprocessing
from storage.errors import StorageAway
from storage.identity import require_source
from storage.jobs.batches import BatchImages
from storage.jobs.job import Job
from storage.jobs.results import BatchResult
from storage.jobs.stored_job import StoredJob
from storage.settings import StorageSettings
from worker.batches.phases import Phases
from worker.batches.progress import JobStopped, Progress
from worker.batches.reuse import Reuse
from worker.errors import ModelRefused
from worker.examination.outputs import are_probabilities
from worker.runtimes.predictor import Predictor

log = logging.getLogger(__name__)

NOT_OF_AN_IMAGE = (JobStopped, StorageAway, MemoryError)
"""What goes wrong while an image is read, but not because of it."""
NO_PROBABILITIES = "the model gives no probabilities for it (not finite, or not adding up to 1)"
"""Why an image fails that a network cannot judge, such as a square root of less than nothing."""
WINDOW_BYTES = 32 * 2**20
"""How many pixels are decoded before they are classified, and how much of files is in memory."""


class BatchReader:
    """The images of one batch as a model's pixels, one by one or many at once.

    Whatever an image raises is that image's record, and the others go on. Raises `StorageAway` when
    the folder of a file is not mounted here.
    """

    def __init__(
        self,
        stored: StoredJob,
        batch: int,
        shape: Shape,
        preprocessing: Preprocessing,
        settings: StorageSettings,
    ) -> None:
        self._images = BatchImages(stored, batch, shape, preprocessing, settings)
        self._root = stored.root
        self._submitted = stored.submitted_at()
        self.shape = shape
        self.count = self._images.count

    def read(self, position: int) -> Pixels:
        """Pixels (H, W, C) of one image; raises `ImageError`."""
        if self._images.are_files:
            return self._decode(self._content(position))
        return self._images.read(position)

    def read_span(
        self, span: range, skip: Mapping[int, str], phases: Phases, progress: Progress
    ) -> tuple[Pixels, dict[int, str]]:
        """Pixels (n, H, W, C) of a span of the batch, and the reason for each that has none.

        A failed image is all zeros: the span keeps its shape, so that the other images' scores
        are the same to the last bit with or without it. Positions are those in the batch.
        """
        errors = {position: reason for position, reason in skip.items() if position in span}
        with phases("read"):
            view = self._images.view(span)
            if view is not None and not errors:
                return view, {}
        pixels = np.zeros((len(span), *self.shape), np.uint8)
        positions = [position for position in span if position not in errors]
        if self._images.are_files:
            self._decode_files(span, positions, pixels, errors, phases, progress)
        else:
            with phases("read"):
                self._fill(span, pixels, errors, positions, self.read, progress)
        return pixels, errors

    def _decode_files(
        self,
        span: range,
        positions: Sequence[int],
        pixels: Pixels,
        errors: dict[int, str],
        phases: Phases,
        progress: Progress,
    ) -> None:
        rest = deque(positions)
        while rest:
            self._decode_some(span, rest, pixels, errors, phases, progress)

    def _decode_some(
        self,
        span: range,
        positions: deque[int],
        pixels: Pixels,
        errors: dict[int, str],
        phases: Phases,
        progress: Progress,
    ) -> None:
        """Take the next images out of `positions`; their bytes are forgotten afterwards."""
        with phases("read"):
            contents = self._read_some(positions, errors, progress)
        with phases("decode"):
            plain = self._decode_plain(span, contents, pixels)
            others = sorted(contents.keys() - plain)
            self._fill(span, pixels, errors, others, lambda i: self._decode(contents[i]), progress)

    def _read_some(
        self, positions: deque[int], errors: dict[int, str], progress: Progress
    ) -> dict[int, bytes]:
        """The encoded bytes of the next images, which are taken out of `positions`."""
        contents: dict[int, bytes] = {}
        room = WINDOW_BYTES
        while positions and room > 0:
            position = positions.popleft()
            try:
                contents[position] = self._content(position)
                room -= len(contents[position])
            except NOT_OF_AN_IMAGE:
                raise
            except Exception as error:
                errors[position] = reason_of(error)
            progress.step()
        return contents

    def _decode_plain(self, span: range, contents: Mapping[int, bytes], pixels: Pixels) -> set[int]:
        """Decode all at once what can be; returns which images are done."""
        shifted = {position - span.start: content for position, content in contents.items()}
        try:
            return {span[i] for i in self._images.decode_plain(shifted, pixels)}
        except NOT_OF_AN_IMAGE:
            raise
        except Exception:
            log.exception("The images of a batch are decoded one by one.")
            pixels[list(shifted)] = 0
            return set()

    def _content(self, position: int) -> bytes:
        """The encoded bytes; raises `ImageError` only when storage is there and they are not."""
        try:
            return self._images.content(position)
        except ImageError:
            if stored := self._images.stored(position):
                require_source(self._root, stored, self._submitted)
                return self._images.content(position)  # it may have come back meanwhile
            raise

    def _decode(self, content: bytes) -> Pixels:
        return self._images.decode(content)

    @staticmethod
    def _fill(
        span: range,
        pixels: Pixels,
        errors: dict[int, str],
        positions: Sequence[int],
        read: Callable[[int], Pixels],
        progress: Progress,
    ) -> None:
        for position in positions:
            try:
                pixels[position - span.start] = read(position)
            except NOT_OF_AN_IMAGE:
                raise
            except Exception as error:
                errors[position] = reason_of(error)
            progress.step()


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
    progress: Progress,
    saved: BatchResult | None = None,
    save: Callable[[BatchResult], None] = lambda result: None,
    chunk: int | None = None,
) -> BatchResult:
    """Predict every image; those in `skip` become errors with the reason given there.

    It goes on where a former attempt was, which `saved` holds, and calls `save` with what is
    finished so far. A step has as many images as the predictor takes, or `chunk`.
    """
    chunk = chunk or predictor.chunk
    ranking = Ranking.failed(reader.count, job.depth)
    errors: dict[int, str] = {}
    done = 0
    if saved and len(saved.ranking) % chunk == 0:
        done = len(saved.ranking)
        ranking[:done], errors = saved.ranking, {**saved.errors}
    for window in windows(done, reader.count, predictor):
        pixels, failed = reader.read_span(window, skip, phases, progress)
        with phases("predict"):
            for start in range(window.start, window.stop, chunk):
                stop = min(start + chunk, window.stop)
                probabilities = predictor(pixels[start - window.start : stop - window.start])
                ranking[start:stop] = ranked(probabilities, job)
                for position in [at for at in failed if start <= at < stop]:
                    ranking.fail(position)
                for position in (start + ranking[start:stop].failures()).tolist():
                    errors[position] = failed.get(position, NO_PROBABILITIES)
                if progress.classified(stop) and stop < reader.count:
                    save(BatchResult(model=job.model, ranking=ranking[:stop], errors=errors))
    return BatchResult(model=job.model, ranking=ranking, errors=errors)


def classify_new(
    job: Job,
    reader: BatchReader,
    predictor: Predictor,
    skip: Mapping[int, str],
    phases: Phases,
    progress: Progress,
    reuse: Reuse,
    chunk: int | None = None,
) -> BatchResult:
    """The same, but only what is new to the model is computed, and kept as it is finished."""
    chunk = chunk or predictor.chunk
    pixels, errors = reader.read_span(range(reader.count), skip, phases, progress)
    failed = sorted(errors)
    ranking = Ranking.failed(reader.count, job.depth)
    good = np.setdiff1d(np.arange(reader.count), failed)
    wanted = pixels[good] if failed else pixels

    def classify(images: Pixels) -> Iterator[Ranking]:
        for start in range(0, len(images), chunk):
            yield ranked(predictor(images[start : start + chunk]), job)

    ranking[good], reused = reuse.classify(job.model, job.depth, wanted, classify, phases, progress)
    for position in ranking.failures().tolist():
        errors.setdefault(position, NO_PROBABILITIES)
    return BatchResult(model=job.model, ranking=ranking, errors=errors, reused=reused)


def ranked(probabilities: Probabilities, job: Job) -> Ranking:
    """The likeliest classes; images for which the network gives no probabilities have none.

    Raises `ModelRefused` where it tells other classes apart than the job has.
    """
    if probabilities.shape[1] != len(job.labels):
        raise ModelRefused(
            f"The model {job.model} tells {probabilities.shape[1]} classes apart, and its "
            f"manifest named {len(job.labels)} when the job was submitted."
        )
    ranking = Ranking.of(probabilities, job.depth)
    for position in np.flatnonzero(~are_probabilities(probabilities)):
        ranking.fail(int(position))
    return ranking


def windows(start: int, count: int, predictor: Predictor) -> list[range]:
    """Spans of the batch from `start` on, each of whole chunks, of about `WINDOW_BYTES`."""
    chunk_bytes = predictor.chunk * int(np.prod(predictor.shape))
    size = predictor.chunk * max(1, WINDOW_BYTES // chunk_bytes)
    return [range(first, min(first + size, count)) for first in range(start, count, size)]
