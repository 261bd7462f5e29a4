"""Batches that nobody runs and nobody is going to: their messages got lost, and are sent again."""

from collections.abc import Callable, Sequence, Set

from dispatch.batch_message import message_of
from messaging.messages import PredictBatch
from storage.jobs.stored_job import StoredJob


def send_lost(
    stored: StoredJob,
    batches: Sequence[int],
    *,
    waiting: Set[str],
    lease_seconds: float,
    send: Callable[[Sequence[PredictBatch]], object],
) -> list[int]:
    """Send those of `batches` again whose messages do not wait in the queue; returns them.

    `waiting` are the keys of messages, see `PredictBatch.key`. A worker may have taken a batch just
    before they were looked for: what is running by now, or done, is not sent. What was sent before
    the broker refused is noted all the same.
    """
    messages = [message_of(stored.job, batch) for batch in batches]
    sent: list[int] = []
    try:
        for message in messages:
            if message.key not in waiting and not is_taken(stored, message.batch, lease_seconds):
                send([message])
                sent.append(message.batch)
    finally:
        if sent:
            stored.chains.note_sent()
    return sent


def is_taken(stored: StoredJob, batch: int, lease_seconds: float) -> bool:
    """Whether somebody runs a batch now, or has finished it."""
    return stored.attempts.history(batch, lease_seconds).live or stored.results.has(batch)
