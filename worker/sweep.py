"""Finds jobs that stand still and sends their missing batches again."""

import logging
from collections.abc import Callable

from messaging.messages import PredictBatch
from storage.errors import StorageError
from storage.jobs import JobStore

log = logging.getLogger(__name__)


class Sweeper:
    """Looks after jobs that nobody watches. An ended job is not read again until it changes."""

    def __init__(self, jobs: JobStore, lease_seconds: float) -> None:
        self._jobs = jobs
        self._lease_seconds = lease_seconds
        self._ended: dict[str, tuple[float, float]] = {}

    def sweep(
        self, send: Callable[[PredictBatch], object], waiting_task_ids: Callable[[], set[str]]
    ) -> dict[str, int]:
        """Send what has stalled; returns the number of batches sent by job."""
        sent: dict[str, int] = {}
        waiting: set[str] | None = None
        for job_id in self._jobs.ids():
            try:
                changed = self._jobs.changed(job_id)
                if self._ended.get(job_id) == changed:
                    continue
                job = self._jobs.get(job_id)
                if self._jobs.status(job, len(self._jobs.done(job))).ended:
                    self._ended[job_id] = changed
                    continue
                stalled = self._jobs.stalled(job, self._lease_seconds)
            except (StorageError, FileNotFoundError) as error:
                log.warning("Job %s cannot be swept: %s", job_id, error)
                continue
            if not stalled:
                continue
            if waiting is None:
                waiting = {task_id.rpartition(".")[0] for task_id in waiting_task_ids()}
            lost = [PredictBatch(job=job_id, batch=batch) for batch in stalled]
            lost = [message for message in lost if message.key not in waiting]
            for message in lost:
                send(message)
            if lost:
                self._jobs.note_sent(job)
                sent[job_id] = len(lost)
        return sent
