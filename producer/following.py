"""Follows a job until it ends: the files are the truth, the doorbell a hint to look at them.

Whoever follows a job also heals it: batches whose messages were lost are sent again.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from messaging.errors import BrokerUnavailable
from messaging.messages import PredictBatch
from producer.gathering import Gathering
from producer.predict_queue import PredictQueue
from storage.errors import Corrupt
from storage.jobs import Job, JobStore, Status
from storage.tally import Tally

LOOK_SECONDS = 1.0
"""Look at the files this often though nothing rings."""
LONGEST_PAUSE_SECONDS = 0.2
HEAL_SECONDS = 3.0
NO_WORKER_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a job is."""

    status: Status
    batches: int
    """Batches done."""
    images: int
    """Images done, failed ones included."""
    total: int
    tally: Tally
    """Counts; final once `status.ended`."""
    notice: str | None = None
    """Something the user should know, said once."""


def send_lost(jobs: JobStore, job: Job, batches: Sequence[int], queue: PredictQueue) -> int:
    """Send those of `batches` again whose messages are not in the queue; returns how many."""
    if not batches:
        return 0
    waiting = queue.waiting()
    messages = [PredictBatch(job=job.id, batch=batch) for batch in batches]
    lost = [message for message in messages if message.key not in waiting]
    if lost:
        queue.send(lost)
        jobs.note_sent(job)
    return len(lost)


class Follower:
    """Follows one job. `queued=False` when its messages have still to be sent."""

    def __init__(
        self,
        jobs: JobStore,
        job: Job,
        queue: PredictQueue,
        *,
        lease_seconds: float,
        queued: bool = True,
    ) -> None:
        self._jobs = jobs
        self._job = job
        self._queue = queue
        self._lease_seconds = lease_seconds
        self._queued = queued
        self._rings: Iterator[bool] | None = None
        self._discarded: set[int] = set()
        self._unavailable = False
        self._began = time.monotonic()
        self._heal_at = self._began if not queued else self._began + HEAL_SECONDS
        self._asked_for_workers = False

    def __iter__(self) -> Iterator[Progress]:
        """Progress whenever the files were looked at; the last one has ended."""
        with Gathering(self._jobs, self._job) as gathering:
            while True:
                notice = self._look(gathering)
                status = self._jobs.status(self._job, gathering.done)
                if status.ended:
                    gathering.count_all()
                    yield self._progress(gathering, status, notice)
                    return
                notice = notice or self._heal() or self._miss_workers(status)
                yield self._progress(gathering, status, notice)
                self._wait(gathering.scan_seconds)

    def _progress(self, gathering: Gathering, status: Status, notice: str | None) -> Progress:
        return Progress(
            status=status,
            batches=gathering.done,
            images=gathering.images,
            total=self._job.total,
            tally=gathering.tally,
            notice=notice,
        )

    def _look(self, gathering: Gathering) -> str | None:
        """Take in new results. A damaged one is thrown away once, and computed again."""
        try:
            gathering.look()
        except Corrupt as error:
            batch = gathering.next_batch
            if batch in self._discarded or not self._jobs.has_result(self._job, batch):
                raise
            self._discarded.add(batch)
            self._jobs.discard_result(self._job, batch)
            gathering.look()
            self._queued = False  # its message is long gone: do not wait for a lease
            self._heal_at = 0.0
            return f"{error} It is computed again."
        return None

    def _heal(self) -> str | None:
        """Send lost batches again, every few seconds."""
        now = time.monotonic()
        if now < self._heal_at:
            return None
        self._heal_at = now + HEAL_SECONDS
        try:
            lost = (
                self._jobs.stalled(self._job, self._lease_seconds)
                if self._queued
                else self._jobs.heads(self._job)
            )
            sent = send_lost(self._jobs, self._job, lost, self._queue)
        except BrokerUnavailable as error:
            return self._say_unavailable(error)
        self._unavailable = False
        if sent and self._queued:
            return f"{sent} batches of job {self._job.id} had got lost and were sent again."
        self._queued = True
        return None

    def _miss_workers(self, status: Status) -> str | None:
        """After some time in which nobody has begun, see whether anybody is there at all."""
        waited = time.monotonic() - self._began
        if self._asked_for_workers or status != Status.QUEUED or waited < NO_WORKER_SECONDS:
            return None
        self._asked_for_workers = True
        try:
            if self._queue.has_workers():
                return f"The workers are busy with other jobs; {self._job.id} waits for its turn."
        except BrokerUnavailable as error:
            return self._say_unavailable(error)
        return (
            "No worker seems to listen: start one with `celery -A worker worker`, on the same "
            "Redis and the same BATCHSIGHT_STORAGE."
        )

    def _wait(self, scan_seconds: float) -> None:
        """Sleep until it is worth looking again: after a ring, at the latest after a second.

        Finding the results is not repeated before ten times its cost has passed: a producer
        leaves the cores to the workers, however many of them ring and however large the job.
        """
        try:
            if self._rings is None:
                self._rings = self._queue.listen(self._job.id, LOOK_SECONDS)
            next(self._rings)
        except (BrokerUnavailable, StopIteration):
            self._rings = None
            time.sleep(LOOK_SECONDS)
        time.sleep(min(10 * scan_seconds, LONGEST_PAUSE_SECONDS))

    def _say_unavailable(self, error: BrokerUnavailable) -> str | None:
        if self._unavailable:
            return None
        self._unavailable = True
        return f"{error} The job waits meanwhile; nothing of it is lost."
