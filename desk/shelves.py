"""What the pages read: the stores, and what was found out about jobs that have ended."""

from producer.results.summary import JobLine, line_of
from storage.datasets.store import DatasetStore
from storage.files import modified
from storage.jobs.corrections import has_corrections
from storage.jobs.ended import EndedJobs
from storage.jobs.store import JobStore
from storage.jobs.stored_job import StoredJob
from storage.models.store import ModelStore
from storage.settings import StorageSettings


class Shelves:
    """Shared storage, opened for reading."""

    def __init__(self, settings: StorageSettings) -> None:
        self.settings = settings
        self.jobs = JobStore(settings.root)
        self.models = ModelStore(settings.root)
        self.datasets = DatasetStore(settings.root)
        self.lines = EndedJobs(self.jobs, look_at)

    def newest_jobs(self) -> list[str]:
        """Ids of all jobs, the latest submission first; no job is read for it."""
        ids = self.jobs.ids()
        return sorted(ids, key=lambda id_: modified(self.jobs.path(id_) / "job.json"), reverse=True)


def look_at(stored: StoredJob) -> tuple[JobLine, bool]:
    """A job in a line, and whether that stays as it is: labels may be added at any time."""
    line = line_of(stored)
    return line, line.status.ended and not has_corrections(stored)
