"""What was found out about ended jobs: none is read again until it changes."""

from collections.abc import Callable
from typing import Generic, TypeVar

from storage.jobs.store import JobStore
from storage.jobs.stored_job import StoredJob

Finding = TypeVar("Finding")


class EndedJobs(Generic[Finding]):
    """Looks at jobs with `find`, which tells what it found and whether the job has ended."""

    def __init__(self, jobs: JobStore, find: Callable[[StoredJob], tuple[Finding, bool]]) -> None:
        self._jobs = jobs
        self._find = find
        self._ended: dict[str, tuple[tuple[float, float], Finding]] = {}

    def __getitem__(self, job_id: str) -> Finding:
        """What is to be found about a job now; raises what reading it raises."""
        changed = self._jobs.changed(job_id)
        known = self._ended.get(job_id)
        if known and known[0] == changed:
            return known[1]
        found, ended = self._find(self._jobs.open(job_id))
        if ended:
            self._ended[job_id] = changed, found
        return found
