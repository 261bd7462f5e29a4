"""Batches that nobody runs and nobody is going to: their messages got lost, and are sent again."""

from collections.abc import Callable, Sequence, Set

from messaging.messages import PredictBatch
from storage.jobs.store import Job, JobStore


def idle_heads(jobs: JobStore, job: Job, lease_seconds: float) -> list[int]:
    """What has to be sent to get a job going: the heads of its chains that nobody runs now."""
    return [h for h in jobs.heads(job) if not jobs.history(job, h, lease_seconds).live]


def send_lost(
    jobs: JobStore,
    job: Job,
    batches: Sequence[int],
    *,
    waiting: Set[str],
    send: Callable[[Sequence[PredictBatch]], object],
) -> list[int]:
    """Send those of `batches` again whose messages do not wait in the queue; returns them.

    `waiting` are the keys of messages, see `PredictBatch.key`. What was sent before the broker
    refused is noted all the same.
    """
    messages = [PredictBatch(job=job.id, batch=batch) for batch in batches]
    sent: list[int] = []
    try:
        for message in messages:
            if message.key not in waiting:
                send([message])
                sent.append(message.batch)
    finally:
        if sent:
            jobs.note_sent(job)
    return sent
