"""Which jobs wait in a queue."""

from pathlib import Path

import redis

from messaging.broker import waiting_task_ids
from messaging.messages import job_of, key_of
from storage.jobs.store import JobStore, apart


def waiting_jobs(client: "redis.Redis", queue: str, root: Path) -> dict[str, str]:
    """Jobs that have not ended with batches in a queue, and what they are pinned to.

    What cannot be read is another check's.
    """
    store, versions = JobStore(root), dict[str, str]()
    for job_id in sorted({job_of(key_of(task_id)) for task_id in waiting_task_ids(client, queue)}):
        with apart(job_id, lambda _: None):
            stored = store.open(job_id)
            if stored.ended_at() is None:
                versions[job_id] = str(stored.job.model)
    return versions
