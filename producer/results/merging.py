"""Takes in a job's results as they appear: counts them and merges them, each read only once."""

from collections.abc import Callable
from contextlib import ExitStack
from time import perf_counter

from producer.results.finished_batches import FinishedBatch
from producer.results.records import PREDICTIONS_FILE, PredictionsWriter
from storage.jobs.job import Job
from storage.jobs.labels import KnownLabels
from storage.jobs.stored_job import StoredJob
from storage.jobs.tally import Tally


class Gathering:
    """The results of one job, in order. Use it as a context manager.

    Its drafts lie there still if storage went away: see `PredictionsWriter` for the name `draft`.
    """

    def __init__(self, stored: StoredJob, draft: str | None = None) -> None:
        self._labels = KnownLabels(stored)
        self.tally = Tally(stored, self._labels)
        """Counts over the results taken in so far: those without a gap before them."""
        self.done = 0
        """Batches that have a result, taken in or not."""
        self.images = 0
        """Images of these batches."""
        self.scan_seconds = 0.0
        """What it cost to find the results there are, without taking them in."""
        self._draft = draft
        self._stored = stored
        self._job = stored.job
        self.next_batch = 0
        """The first batch not taken in yet."""
        self._stack = ExitStack()
        self._writer: PredictionsWriter | None = None

    def __enter__(self) -> "Gathering":
        if not (self._stored.folder / PREDICTIONS_FILE).exists():
            self._writer = self._stack.enter_context(
                PredictionsWriter(self._stored.folder, self._draft)
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def unmerged(self) -> bool:
        """Whether all results are taken in, and `merge` has still to be called."""
        return self.tally.complete and self._writer is not None

    def look(self) -> None:
        """Take in what has appeared.

        Raises `DamagedResult` for `next_batch`, which can be discarded and looked for again.
        """
        began = perf_counter()
        done = self._stored.results.done()
        self.scan_seconds = perf_counter() - began
        self.done = len(done)
        self.images = images_of(self._job, done)
        while self.next_batch in done:
            self._take(self.next_batch)
            self.next_batch += 1

    def merge(self) -> None:
        """Put the predictions into place, unless something is missing or they are there."""
        if self.unmerged and self._writer is not None:
            self._writer.commit()
            self._writer = None

    def count_all(self) -> None:
        """Count the results behind a gap as well: a stopped job gets no more of them."""
        self.tally.refresh()

    def _take(self, batch: int) -> None:
        finished = FinishedBatch(self._stored, batch, self._labels)
        if self._writer is not None:
            self._writer.write(self._job, batch, finished.identities, finished.result)
        self.tally.add(batch, finished.result, finished.labels)


def images_of(job: Job, batches: set[int]) -> int:
    """Images in some batches of a job, of which only the last one may be short."""
    last = job.batches - 1
    missing = job.batch_size - len(job.span(last)) if last in batches else 0
    return len(batches) * job.batch_size - missing


def merge(
    stored: StoredJob,
    *,
    observe: Callable[[FinishedBatch], object] | None = None,
    keep: bool = True,
) -> Tally:
    """Count the results there are, and merge those of a completed job, unless they are merged.

    Each is read once, and shown to `observe`; without `keep` nothing is written. Raises
    `DamagedResult`.
    """
    job = stored.job
    labels = KnownLabels(stored)
    tally = Tally(stored, labels)
    done = stored.results.done()
    folder = stored.folder
    with ExitStack() as stack:
        writer = None
        if keep and len(done) == job.batches and not (folder / PREDICTIONS_FILE).exists():
            writer = stack.enter_context(PredictionsWriter(folder))
        for number in sorted(done):
            batch = FinishedBatch(stored, number, labels)
            if writer is not None:
                writer.write(job, number, batch.identities, batch.result)
            tally.add(number, batch.result, batch.labels)
            if observe is not None:
                observe(batch)
        if writer is not None:
            writer.commit()
    return tally
