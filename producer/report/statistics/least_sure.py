"""The predictions with the lowest scores."""

import heapq

import numpy as np

from producer.report.statistics.shown_image import ShownImage, images_of
from producer.results.finished_batches import FinishedBatch

LEAST_SURE_SHOWN = 24


class LeastSure:
    """Right or wrong, those the model was least sure of; among equals in the order of the job."""

    def __init__(self) -> None:
        self.images: list[ShownImage] = []

    def add(self, batch: FinishedBatch) -> None:
        """Look for them in one batch."""
        result = batch.result
        rows = np.flatnonzero(result.predictions >= 0)
        found = rows[np.argsort(result.scores[rows], kind="stable")][:LEAST_SURE_SHOWN]
        self.images = heapq.nsmallest(
            LEAST_SURE_SHOWN,
            [*self.images, *images_of(batch, found.tolist())],
            key=lambda image: (image.score, image.position),
        )
