"""The likeliest classes of images, and how they are compared."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FAILED = -1

SAME_SCORE = 1e-4
"""Scores this near to one another are the same: processors round differently."""
COMPARED_AT_ONCE = 1_000_000
"""Pairs of classes: what is held in memory while rankings are compared."""

Probabilities = NDArray[np.float32]
"""Of each class for each image, (N, classes)."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The K likeliest classes of N images, the likeliest first, of equal ones the first class."""

    classes: NDArray[np.int32]
    """Class indices (N, K); `FAILED` for an image that has none."""
    scores: NDArray[np.float32]
    """Their probabilities (N, K), 0 to 1; 0 for failed images."""

    @classmethod
    def of(cls, probabilities: Probabilities, depth: int) -> "Ranking":
        """The `depth` likeliest classes."""
        if depth == 1:  # the usual case: nothing is sorted
            classes = probabilities.argmax(axis=1)[:, np.newaxis]
        else:
            classes = np.argsort(-probabilities, axis=1, kind="stable")[:, :depth]
        scores = np.take_along_axis(probabilities, classes, axis=1)
        return cls(classes=classes.astype(np.int32), scores=scores.astype(np.float32, copy=False))

    @classmethod
    def failed(cls, count: int, depth: int) -> "Ranking":
        """That of images none of which has a prediction."""
        return cls(
            classes=np.full((count, depth), FAILED, np.int32),
            scores=np.zeros((count, depth), np.float32),
        )

    @classmethod
    def joined(cls, parts: "list[Ranking]") -> "Ranking":
        """Those of several images after one another."""
        return cls(
            classes=np.concatenate([part.classes for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, rows: slice | NDArray[np.integer]) -> "Ranking":
        return Ranking(classes=self.classes[rows], scores=self.scores[rows])

    def __setitem__(self, rows: slice | NDArray[np.integer], part: "Ranking") -> None:
        self.classes[rows], self.scores[rows] = part.classes, part.scores

    @property
    def depth(self) -> int:
        """How many classes each image has."""
        return int(self.classes.shape[1])

    def fail(self, position: int) -> None:
        """Take the prediction of an image away."""
        self.classes[position], self.scores[position] = FAILED, 0.0

    def failures(self) -> NDArray[np.intp]:
        """The positions of images that have no prediction."""
        return np.flatnonzero(self.classes[:, 0] == FAILED)

    def is_whole(self) -> bool:
        """Whether every class is ranked, so that scores by class say the same."""
        return self.depth > 1 and int(self.classes.max(initial=FAILED)) < self.depth

    def by_class(self) -> Probabilities:
        """Probabilities (N, K) in the order of the classes, where every class is ranked."""
        probabilities = np.zeros_like(self.scores)
        good = self.classes[:, 0] != FAILED
        np.put_along_axis(
            probabilities, np.where(good[:, np.newaxis], self.classes, 0), self.scores, axis=1
        )
        return probabilities

    def differing(self, other: "Ranking") -> NDArray[np.bool_]:
        """Which images (N,) are ranked otherwise, in what is no matter of rounding.

        Classes whose scores are the same may change places, and the last one may give way to one
        that is as likely.
        """
        same = np.zeros(len(self), np.bool_)
        step = max(1, COMPARED_AT_ONCE // self.depth**2)
        for start in range(0, len(self), step):
            rows = slice(start, start + step)
            same[rows] = self[rows]._agrees(other[rows])
        return ~same

    def _agrees(self, other: "Ranking") -> NDArray[np.bool_]:
        pairs = self.classes[:, :, np.newaxis] == other.classes[:, np.newaxis, :]
        in_both, also_here = pairs.any(axis=2), pairs.any(axis=1)
        there = np.where(pairs, other.scores[:, np.newaxis, :], 0).max(axis=2)
        # A class that is missing on one side is at most as likely there as the last one.
        likely_there = np.where(in_both, there, np.minimum(self.scores, other.scores[:, -1:]))
        likely_here = np.where(also_here, other.scores, self.scores[:, -1:])
        near = np.isclose(self.scores, other.scores, rtol=0, atol=SAME_SCORE)
        near &= np.abs(self.scores - likely_there) <= SAME_SCORE
        near &= other.scores <= likely_here + SAME_SCORE
        # All that are likely on either side must find room in one whole.
        together = self.scores.sum(axis=1) + np.where(also_here, 0, other.scores).sum(axis=1)
        room = in_both.all(axis=1) | (together <= 1 + 2 * self.depth * SAME_SCORE)
        both = (self.classes[:, 0] == FAILED) == (other.classes[:, 0] == FAILED)
        agrees: NDArray[np.bool_] = near.all(axis=1) & room & both
        return agrees
