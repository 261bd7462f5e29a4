"""The true labels of a job's images: as submitted, and as far as they are known now."""

import numpy as np

from storage.datasets.store import Labels
from storage.jobs.corrections import has_corrections, read_corrections
from storage.jobs.inputs import UNLABELLED
from storage.jobs.stored_job import StoredJob


def read_labels(stored: StoredJob, batch: int) -> Labels | None:
    """Class indices of a batch's images as they were submitted, `UNLABELLED` for none.

    None when the job has no labels.
    """
    job = stored.job
    if job.labelled == 0:
        return None
    if job.array:
        labels = stored.inputs.open_labels()
        assert labels is not None
        span = job.span(batch)
        return np.asarray(labels[span.start : span.stop])
    return stored.inputs.read_columns(batch).labels


class KnownLabels:
    """The labels of a job as they are known now: one given later wins over the submitted one.

    Raises `Corrupt` when a file of later labels is damaged.
    """

    def __init__(self, stored: StoredJob) -> None:
        self._stored = stored
        self._later = read_corrections(stored) if has_corrections(stored) else None
        self.later = 0 if self._later is None else int((self._later != UNLABELLED).sum())
        """Images that have been given a label since they were submitted."""

    def of(self, batch: int) -> Labels | None:
        """Class indices of a batch's images; none when no image of the batch can have a label."""
        return self.over(batch, read_labels(self._stored, batch))

    def over(self, batch: int, submitted: Labels | None) -> Labels | None:
        """The same, when the submitted ones have been read already."""
        if self._later is None:
            return submitted
        span = self._stored.job.span(batch)
        later = self._later[span.start : span.stop]
        return np.where(later == UNLABELLED, UNLABELLED if submitted is None else submitted, later)
