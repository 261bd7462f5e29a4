"""What a job's results come to so far."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from evaluation.confusion import Evaluation, confusion_matrix
from storage.errors import Corrupt
from storage.jobs.labels import KnownLabels, read_labels
from storage.jobs.results import BatchResult
from storage.jobs.stored_job import StoredJob


class Tally:
    """Counts over a job's results. Each result is read once, however often it is refreshed.

    Without `labels` those count that were submitted.
    """

    def __init__(self, stored: StoredJob, labels: KnownLabels | None = None) -> None:
        self._stored = stored
        self._job = stored.job
        self._labels = labels
        self.labelled_later = labels.later if labels else 0
        """Images of the job that were given a label after they were submitted."""
        self._clear()

    def _clear(self) -> None:
        self._counted: set[int] = set()
        self._matrix = np.zeros((len(self._job.labels), len(self._job.labels)), dtype=np.int64)
        self.by_class = np.zeros(len(self._job.labels), dtype=np.int64)
        """Images predicted to be of each class."""
        self.predicted = 0
        self.failed = 0
        self.reused = 0
        self.in_top = 0
        """Labelled images whose label is among the classes that the job keeps by rank."""

    @property
    def batches(self) -> int:
        """Batches counted."""
        return len(self._counted)

    @property
    def complete(self) -> bool:
        """Whether every batch is counted."""
        return len(self._counted) == self._job.batches

    @property
    def evaluation(self) -> Evaluation:
        """Predictions against labels, over the images that have both."""
        return Evaluation.from_matrix(self._job.labels, self._matrix)

    def refresh(self, on_damage: Callable[[Corrupt], object] | None = None) -> None:
        """Count the results that have appeared since the last call.

        One that is damaged raises `Corrupt`, or is told to `on_damage` and not counted.
        """
        done = self._stored.results.done()
        if not self._counted <= done:
            self._clear()  # results were discarded, to be computed again
        for batch in sorted(done - self._counted):
            try:
                result = self._stored.results.read(batch)
            except Corrupt as error:
                if on_damage is None:
                    raise
                on_damage(error)
            else:
                self.add(batch, result, self._labels_of(batch))

    def _labels_of(self, batch: int) -> NDArray[np.int32] | None:
        if self._labels is None:
            return read_labels(self._stored, batch)
        return self._labels.of(batch)

    def add(self, batch: int, result: BatchResult, labels: NDArray[np.int32] | None) -> None:
        """Count one result."""
        self._counted.add(batch)
        self.failed += len(result.errors)
        self.predicted += len(result.predictions) - len(result.errors)
        given = result.predictions[result.predictions >= 0]
        self.by_class += np.bincount(given, minlength=len(self.by_class))
        self.reused += result.reused or 0
        if labels is not None:
            self._matrix += confusion_matrix(labels, result.predictions, len(self._job.labels))
            top = result.ranking.classes[:, : self._job.top]
            found = (top == np.asarray(labels)[:, np.newaxis]).any(axis=1)
            self.in_top += int((found & (labels >= 0)).sum())
