"""Takes a job up again: what is missing, what is damaged and, if asked for, what has failed."""

from dataclasses import dataclass

from dispatch.predict_queue import PredictQueue
from dispatch.resending import send_lost
from producer.results.records import discard_merged
from storage.errors import Corrupt
from storage.jobs.stored_job import StoredJob


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
    stored: StoredJob, queue: PredictQueue, *, lease_seconds: float, failed_only: bool
) -> Resumption:
    """Send the missing batches of a job, stopped or not; there are none of one that is complete.

    With `failed_only` batches with failed images are computed anew, their history forgotten.
    Raises `BrokerUnavailable` before anything is changed.
    """
    queue.probe()
    damaged, failed = find_unwanted(stored, with_failed=failed_only)
    conflicts = stored.results.conflicts().items()
    doubtful = [batch for batch, conflict in conflicts if conflict and batch not in failed]
    if unwanted := damaged + failed + doubtful:
        discard_merged(stored.folder)
    for batch in unwanted:
        stored.results.discard(batch)
    for batch in failed:
        stored.attempts.forget(batch)
    missing = stored.job.batches - len(stored.results.done())
    stored.unstop()
    heads = stored.chains.idle_heads(lease_seconds)
    waiting = queue.waiting() if heads else set()
    sent = send_lost(stored, heads, waiting=waiting, lease_seconds=lease_seconds, send=queue.send)
    return Resumption(
        damaged=len(damaged),
        failed=len(failed),
        doubtful=len(doubtful),
        missing=missing,
        sent=len(sent),
    )


def find_unwanted(stored: StoredJob, *, with_failed: bool) -> tuple[list[int], list[int]]:
    """Batches whose results are damaged, and those with failed images."""
    damaged, failed = [], []
    for batch in sorted(stored.results.done()):
        try:
            result = stored.results.read(batch)
        except Corrupt:
            damaged.append(batch)
        else:
            if with_failed and result.errors:
                failed.append(batch)
    return damaged, failed
