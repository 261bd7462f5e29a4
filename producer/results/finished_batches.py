"""The finished batches of a job, each with all that lies on storage of it, read once."""

from functools import cached_property

from producer.results.records import Identities, read_identities, read_sound_result
from storage.datasets.store import Labels
from storage.jobs.labels import KnownLabels
from storage.jobs.stored_job import StoredJob


class FinishedBatch:
    """One batch that has a result. Who its images are is read when it is asked for first."""

    def __init__(self, stored: StoredJob, number: int, known: KnownLabels) -> None:
        """Reads the result; raises `DamagedResult`."""
        self.number = number
        self.first = stored.job.span(number).start
        """Position in the job of its first image."""
        self.result = read_sound_result(stored, number)
        self._stored, self._known = stored, known

    @cached_property
    def identities(self) -> Identities:
        """Who its images are, with the labels that were submitted."""
        return read_identities(self._stored, self.number)

    @cached_property
    def labels(self) -> Labels | None:
        """Class indices (N,) as they are known now; none when no image can have a label."""
        submitted = self.identities.labels if self._stored.job.labelled else None
        return self._known.over(self.number, submitted)
