"""How predictions compare with labels: accuracy and per-class metrics from one confusion matrix.

Model manifests and job summaries carry it in the same form.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

IntArray = NDArray[np.int64]


class ClassScore(BaseModel, frozen=True):
    """Precision, recall and F1 of one class; 0.0 where a figure has no denominator."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    """Images of the class."""
    predicted: int
    """Images taken for it, rightly or not."""


class Evaluation(BaseModel, frozen=True):
    """A confusion matrix with its labels: rows are actual classes, columns predicted ones."""

    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]

    @classmethod
    def of(
        cls, labels: Sequence[str], actual: NDArray[np.integer], predicted: NDArray[np.integer]
    ) -> "Evaluation":
        """Count class indices against each other; pairs with a negative index are left out."""
        return cls.from_matrix(labels, confusion_matrix(actual, predicted, len(labels)))

    @classmethod
    def from_matrix(cls, labels: Sequence[str], matrix: IntArray) -> "Evaluation":
        return cls(labels=tuple(labels), confusion=tuple(tuple(row) for row in matrix.tolist()))

    @property
    def matrix(self) -> IntArray:
        """The counts as an int64 array (C, C)."""
        return np.array(self.confusion, dtype=np.int64)

    @property
    def count(self) -> int:
        """Images that have both a label and a prediction."""
        return int(self.matrix.sum())

    @property
    def accuracy(self) -> float | None:
        """Share of right predictions, 0 to 1; none when nothing was labelled."""
        return float(self.matrix.trace() / self.count) if self.count else None

    def per_class(self) -> list[ClassScore]:
        """One row of metrics per class, in label order."""
        matrix = self.matrix
        right, actual, predicted = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
        precision = right / np.maximum(predicted, 1)
        recall = right / np.maximum(actual, 1)
        f1 = 2 * right / np.maximum(actual + predicted, 1)
        return [
            ClassScore(
                label=label,
                precision=float(precision[i]),
                recall=float(recall[i]),
                f1=float(f1[i]),
                support=int(actual[i]),
                predicted=int(predicted[i]),
            )
            for i, label in enumerate(self.labels)
        ]


def confusion_matrix(
    actual: NDArray[np.integer], predicted: NDArray[np.integer], classes: int
) -> IntArray:
    """Counts (C, C) of actual against predicted class indices, leaving out negative indices."""
    known = (actual >= 0) & (predicted >= 0)
    cells = actual[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)
