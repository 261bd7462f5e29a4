"""Finds jobs that stand still and sends their missing batches again."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

from dispatch.resending import send_lost
from messaging.messages import PredictBatch, key_of
from storage.jobs.ended import EndedJobs
from storage.jobs.store import JobStore, apart
from storage.jobs.stored_job import StoredJob

log = logging.getLogger(__name__)

Send = Callable[[Sequence[PredictBatch]], object]


class Sweeper:
    """Looks after jobs that nobody watches.

    What is wrong with a job is told once, and keeps no other from being swept.
    """

    def __init__(self, jobs: JobStore, lease_seconds: float) -> None:
        self._jobs = jobs
        self._lease_seconds = lease_seconds
        self._unfinished = EndedJobs(jobs, self._find_unfinished)
        self._told: dict[str, str] = {}

    def sweep(
        self,
        send: Callable[[Sequence[PredictBatch]], object],
        waiting_task_ids: Callable[[], set[str]],
    ) -> dict[str, int]:
        """Send what has stalled; returns the number of batches sent by job."""
        sent: dict[str, int] = {}
        waiting: set[str] | None = None
        for job_id in self._jobs.ids():
            job, stalled = None, list[int]()
            with apart(job_id, partial(self._warn, job_id)):
                job = self._unfinished[job_id]
                stalled = job.chains.stalled(self._lease_seconds) if job else []
                self._told.pop(job_id, None)
            if job is None or not stalled:
                continue
            if waiting is None:
                waiting = set(map(key_of, waiting_task_ids()))
            send_and_count = partial(self._send, send, sent, job_id)
            with apart(job_id, partial(self._warn, job_id)):
                send_lost(
                    job,
                    stalled,
                    waiting=waiting,
                    lease_seconds=self._lease_seconds,
                    send=send_and_count,
                )
        return sent

    @staticmethod
    def _send(
        send: Send, sent: dict[str, int], job_id: str, messages: Sequence[PredictBatch]
    ) -> None:
        send(messages)
        sent[job_id] = sent.get(job_id, 0) + len(messages)

    @staticmethod
    def _find_unfinished(job: StoredJob) -> tuple[StoredJob | None, bool]:
        ended = job.ended_at() is not None
        return None if ended else job, ended

    def _warn(self, job_id: str, fault: str) -> None:
        if self._told.get(job_id) != fault:
            self._told[job_id] = fault
            log.warning("Not swept: %s", fault)
