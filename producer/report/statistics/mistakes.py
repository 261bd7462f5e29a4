"""The wrong predictions that the model was surest of."""

import heapq

import numpy as np

from producer.report.statistics.shown_image import ShownImage, images_of
from producer.results.finished_batches import FinishedBatch

MISTAKES_SHOWN = 24


class Mistakes:
    """The most confident mistakes of a job, the surest first, and among equals in its order."""

    def __init__(self) -> None:
        self.surest: list[ShownImage] = []

    def add(self, batch: FinishedBatch) -> None:
        """Look for them in one batch."""
        if batch.labels is None:
            return
        result, labels = batch.result, batch.labels
        wrong = np.flatnonzero(
            (labels >= 0) & (result.predictions >= 0) & (labels != result.predictions)
        )
        found = wrong[np.argsort(-result.scores[wrong], kind="stable")][:MISTAKES_SHOWN]
        self.surest = heapq.nsmallest(
            MISTAKES_SHOWN,
            [*self.surest, *images_of(batch, found.tolist())],
            key=lambda image: (-image.score, image.position),
        )
