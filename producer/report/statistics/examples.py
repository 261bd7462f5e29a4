"""Some images of each predicted class."""

import numpy as np

from evaluation.confusion import IntArray
from producer.results.finished_batches import FinishedBatch

EXAMPLES_OF_A_CLASS = 6


class Examples:
    """A few images of each class, drawn at random and yet the same ones every time."""

    def __init__(self) -> None:
        self._classes: IntArray = np.zeros(0, np.int64)
        self._positions: IntArray = np.zeros(0, np.int64)
        self._lots = np.zeros(0)
        self._ids: list[str] = []

    def add(self, batch: FinishedBatch) -> None:
        """Take in one batch."""
        rows = np.flatnonzero(batch.result.predictions >= 0)
        before = len(self._classes)
        classes = np.concatenate([self._classes, batch.result.predictions[rows]])
        positions = np.concatenate([self._positions, batch.first + rows])
        drawn = np.random.default_rng(batch.number).random(len(rows))
        lots = np.concatenate([self._lots, drawn])
        order = np.lexsort((lots, classes))
        sorted_classes = classes[order]
        rank = np.arange(len(order)) - np.searchsorted(sorted_classes, sorted_classes)
        kept = order[rank < EXAMPLES_OF_A_CLASS]
        self._classes, self._positions, self._lots = classes[kept], positions[kept], lots[kept]
        self._ids = [
            self._ids[i] if i < before else batch.identities.ids[rows[i - before]].as_py()
            for i in kept.tolist()
        ]

    def of(self, predicted: int) -> list[tuple[int, str]]:
        """Position and id of those that were predicted as a class, in the order of the job."""
        found = np.flatnonzero(self._classes == predicted).tolist()
        return sorted((int(self._positions[i]), self._ids[i]) for i in found)
