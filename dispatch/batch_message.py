"""The message of a batch, as everybody makes it who sends one."""

from messaging.messages import PredictBatch
from storage.jobs.job import Job


def message_of(job: Job, batch: int) -> PredictBatch:
    """It waits where workers listen that have the runtime that the job is pinned to."""
    return PredictBatch(job=job.id, batch=batch, runtime=job.model.runtime)
