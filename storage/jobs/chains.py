"""The order in which the batches of one job are sent, and where nothing moves any more."""

from pathlib import Path

from storage.files import modified, touch
from storage.jobs.attempts import Attempts
from storage.jobs.job import Job
from storage.jobs.result_store import ResultStore


class Chains:
    """A job's batches form `window` chains, each `window` apart.

    Whoever finishes a batch sends its successor: the queue holds `window` batches of a job and
    nobody has to feed it.
    """

    def __init__(self, folder: Path, job: Job, results: ResultStore, attempts: Attempts) -> None:
        self._folder = folder
        self._job = job
        self._results = results
        self._attempts = attempts

    def successor(self, batch: int) -> int | None:
        """The next batch without a result that follows `batch` in its chain."""
        later = range(batch + self._job.window, self._job.batches, self._job.window)
        return next((b for b in later if not self._results.has(b)), None)

    def heads(self) -> list[int]:
        """The first batch without a result of each chain: what to send to get a job going."""
        job, done = self._job, self._results.done()
        chains = (range(first, job.batches, job.window) for first in range(job.window))
        heads = (next((b for b in chain if b not in done), None) for chain in chains)
        return [head for head in heads if head is not None]

    def idle_heads(self, lease_seconds: float) -> list[int]:
        """Those of them that nobody runs now."""
        return [h for h in self.heads() if not self._attempts.history(h, lease_seconds).live]

    def stalled(self, lease_seconds: float) -> list[int]:
        """Heads of chains where nothing has moved for a lease: nobody works, nothing was sent.

        Their messages may be lost, or may merely wait in the queue: whoever sends them again
        looks there first, and calls `note_sent`.
        """
        now = touch(self._folder / ".clock")
        quiet_since = max(modified(self._folder / "job.json"), modified(self._folder / "sent"))

        def moved(batch: int) -> float:
            before = batch - self._job.window
            arrived = modified(self._results.path(before)) if before >= 0 else 0.0
            return max(quiet_since, arrived, modified(self._attempts.path(batch)))

        return [head for head in self.heads() if now - moved(head) > lease_seconds]

    def note_sent(self) -> None:
        """Remember that messages of this job have just been sent."""
        touch(self._folder / "sent")
