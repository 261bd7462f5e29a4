"""Do two runtimes say the same of the same images, but for rounding?"""

import numpy as np
from pydantic import BaseModel

from evaluation.ranking import SAME_SCORE, Probabilities

FEW_IMAGES, MARGIN = 100, 3
"""Fewer images than this may leave out the worst by chance: theirs must be so many times nearer."""


class Agreement(BaseModel, frozen=True):
    """How far two tables of probabilities (N, classes) are apart."""

    images: int
    difference: float
    """The largest one between two probabilities."""
    ties: int
    """Images that have another class, though all probabilities are the same but for rounding."""
    differing: int
    """Images that have another class or other probabilities, and not by rounding."""

    @classmethod
    def of(cls, first: Probabilities, second: Probabilities) -> "Agreement":
        """Raises `ValueError` unless both are of as many images and classes."""
        if first.shape != second.shape:
            raise ValueError(f"{first.shape} is no match for {second.shape}")
        apart = np.abs(first - second).max(axis=1, initial=0)
        # Where no probability differs, the best two of another order are as near to one another.
        same = apart <= SAME_SCORE
        return cls(
            images=len(first),
            difference=float(apart.max(initial=0)),
            ties=int((same & (first.argmax(axis=1) != second.argmax(axis=1))).sum()),
            differing=int((~same).sum()),
        )

    @property
    def holds(self) -> bool:
        """Whether one can take the place of the other."""
        return not self.differing and not self.is_close

    @property
    def is_close(self) -> bool:
        """Whether few images are the same with so little to spare that others may not be."""
        return self.images < FEW_IMAGES and SAME_SCORE / MARGIN < self.difference <= SAME_SCORE
