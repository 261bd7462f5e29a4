"""One job on shared storage: what it must contain, what of it is done, and what has become of it.

    jobs/<id>/job.json                 immutable: source, pinned model, batches
    jobs/<id>/inputs/                  only what does not lie on storage already
    jobs/<id>/attempts/<batch>.jsonl   who tried, see `attempts`
    jobs/<id>/attempts/<batch>.npz     what a long attempt has finished so far
    jobs/<id>/results/<batch>.npz      a batch is done when this exists, see `results`
    jobs/<id>/conflicts/<batch>.npz    a second result with another outcome
    jobs/<id>/stopped.json             cancelled or failed, with the reason

A job's status is never stored: it follows from which files exist. All of Redis may be lost
without losing a job.
"""

from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from storage.errors import Corrupt
from storage.files import discard, modified, read_regular, write_atomically
from storage.jobs.attempts import DUPLICATE, Attempts
from storage.jobs.chains import Chains
from storage.jobs.job import End, Job, Status, Stop
from storage.jobs.job_inputs import JobInputs
from storage.jobs.result_store import ResultStore


class StoredJob:
    """A job with all that lies on storage of it."""

    def __init__(self, root: Path, folder: Path, job: Job) -> None:
        self.root = root
        self.folder = folder
        self.job = job
        self.inputs = JobInputs(root, folder, job)
        self.results = ResultStore(folder, job)
        self.attempts = Attempts(folder / "attempts")

    @property
    def chains(self) -> Chains:
        """The order in which its batches are sent."""
        return Chains(self.folder, self.job, self.results, self.attempts)

    def submitted_at(self) -> float:
        """When it was committed by the storage's clock, in seconds since 1970."""
        return modified(self.folder / "job.json")

    def stop(self, status: Status, reason: str) -> None:
        """Cancel or fail the job. The first reason stays."""
        if self.stopped() is None:
            stop = Stop(status=status, reason=reason, at=datetime.now(UTC))
            write_atomically(self._stop_path, stop.model_dump_json(indent=2).encode())

    @property
    def _stop_path(self) -> Path:
        return self.folder / "stopped.json"

    def stopped(self) -> Stop | None:
        """Why the job was stopped, if it was. Where that cannot be read, it has failed."""
        path = self._stop_path
        try:
            return Stop.model_validate_json(read_regular(path))
        except FileNotFoundError:
            return None
        except (ValidationError, Corrupt):
            return Stop(
                status=Status.FAILED,
                reason=(
                    f"{path} is damaged: `producer resume {self.job.id}` takes the job up again."
                ),
                at=datetime.fromtimestamp(modified(path), UTC),
            )

    def unstop(self) -> None:
        """Let a stopped job go on."""
        discard(self._stop_path)

    def end(self, done: int, failed: int | None = None) -> End | None:
        """How a job ended of which `done` batches have results; none while it goes on.

        It has failed when it was stopped for that, or when more images have failed than it
        allows, be it in its last batch. Who knows how many have `failed` saves their counting.
        """
        stop = self.stopped()
        if done < self.job.batches or (stop and stop.status is Status.FAILED):
            return stop
        reason = None
        if self.job.max_failure_rate is not None:
            reason = self.job.excess(self.results.failed_images() if failed is None else failed)
        status = Status.FAILED if reason else Status.COMPLETED
        return End(status=status, reason=reason, at=self.results.last_written_at())

    def ended_at(self) -> datetime | None:
        """When the job ended; none while it goes on. For this no failed image is counted."""
        end = self.end(len(self.results.done()), failed=0)
        return end.at if end else None

    def status(self, done: int, failed: int | None = None) -> Status:
        """What has become of the job, see `end`."""
        if end := self.end(done, failed):
            return end.status
        return Status.RUNNING if done or self.attempts.begun() else Status.QUEUED

    def repeated(self) -> int:
        """How many batches were computed more than once with the same outcome."""
        conflicts = self.results.conflicts().items()
        again = {batch for batch, conflict in conflicts if conflict is None}
        for batch in range(self.job.batches):
            events = self.attempts.events(batch)
            if any(event.get("outcome") == DUPLICATE for event in events):
                again.add(batch)
        return len(again)
