"""Takes a job up again: what is missing, what is damaged and, if asked for, what has failed."""

from dataclasses import dataclass

from dispatch.predict_queue import PredictQueue
from dispatch.resending import idle_heads, send_lost
from producer.results.records import discard_merged
from storage.errors import Corrupt
from storage.jobs.store import Job, JobStore


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """What was done to take a job up again, in batches."""

    damaged: int
    """Results thrown away since they cannot be read."""
    failed: int
    """Results thrown away since they hold failed images."""
    doubtful: int = 0
    """Results thrown away since the batch was computed twice with different outcomes."""
    missing: int
    """Batches without a result, those above included."""
    sent: int
    """Messages sent; each is followed by the rest of its chain."""


def resume(
    jobs: JobStore, job: Job, queue: PredictQueue, *, lease_seconds: float, failed_only: bool
) -> Resumption:
    """Send the missing batches of a job, stopped or not; there are none of one that is complete.

    With `failed_only` batches with failed images are computed anew, their history forgotten.
    Raises `BrokerUnavailable` before anything is changed.
    """
    queue.probe()
    damaged, failed = find_unwanted(jobs, job, with_failed=failed_only)
    conflicts = jobs.conflicts(job).items()
    doubtful = [batch for batch, conflict in conflicts if conflict and batch not in failed]
    if unwanted := damaged + failed + doubtful:
        discard_merged(jobs.path(job.id))
    for batch in unwanted:
        jobs.discard_result(job, batch)
    for batch in failed:
        jobs.attempt_path(job, batch).unlink(missing_ok=True)
    missing = job.batches - len(jobs.done(job))
    jobs.unstop(job)
    heads = idle_heads(jobs, job, lease_seconds)
    waiting = queue.waiting() if heads else set()
    sent = send_lost(jobs, job, heads, waiting=waiting, send=queue.send)
    return Resumption(
        damaged=len(damaged),
        failed=len(failed),
        doubtful=len(doubtful),
        missing=missing,
        sent=len(sent),
    )


def find_unwanted(jobs: JobStore, job: Job, *, with_failed: bool) -> tuple[list[int], list[int]]:
    """Batches whose results are damaged, and those with failed images."""
    damaged, failed = [], []
    for batch in sorted(jobs.done(job)):
        try:
            result = jobs.read_result(job, batch)
        except Corrupt:
            damaged.append(batch)
        else:
            if with_failed and result.errors:
                failed.append(batch)
    return damaged, failed
