"""Jobs on shared storage: what each must contain, and what of it is done.

    jobs/<id>/job.json                 immutable: source, pinned model, batches
    jobs/<id>/inputs/                  only what does not lie on storage already
    jobs/<id>/attempts/<batch>.jsonl   who tried, see `attempts`
    jobs/<id>/results/<batch>.npz      a batch is done when this exists, see `results`
    jobs/<id>/stopped.json             cancelled or failed, with the reason

A job's status is never stored: it follows from which files exist. All of Redis may be lost
without losing a job.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from storage.attempts import Attempt, History, read_history
from storage.datasets import Labels
from storage.errors import AlreadyExists, ConflictingResult, Corrupt, NotFound
from storage.files import (
    NAME_PATTERN,
    check_name,
    draft_folder,
    list_folders,
    resolve_inside,
    sync_folder,
    sync_tree,
    write_atomically,
)
from storage.images import Pixels
from storage.inputs import ArrayInputs, FileInputs, ImageFiles, write_pack
from storage.models import ModelPin
from storage.results import BatchResult


class Status(StrEnum):
    """What has become of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (Status.QUEUED, Status.RUNNING)


class Job(BaseModel, frozen=True, extra="forbid"):
    """One submission: an ordered list of images and the model version they are classified with."""

    id: str = Field(pattern=f"^{NAME_PATTERN}$")
    source: str
    """What the user submitted, in the user's words."""
    model: ModelPin
    labels: tuple[str, ...]
    """The model's class names."""
    total: int = Field(ge=1)
    """Images in the job."""
    labelled: int = Field(ge=0)
    batch_size: int = Field(ge=1, le=1_000_000)
    window: int = Field(ge=1, le=100_000)
    """Batches in the queue at once; each finished one is followed by the one `window` later."""
    max_failure_rate: float | None = Field(default=None, ge=0.0, le=1.0)
    """Share of failed images above which the job is stopped."""
    reuse: bool = False
    """Whether predictions of the same model for the same pixels may be taken over."""
    notes: tuple[str, ...] = ()
    """What the user was told of the images: what was assumed, what was not used."""
    inputs: Annotated[ArrayInputs | FileInputs, Field(discriminator="kind")]
    passed_over: dict[str, int] = Field(default_factory=dict)
    """What of a folder was not taken, counted by kind: see `image_folders`."""
    fingerprint: str
    """Digest of the images and labels: tells a repeated submission from another job."""
    created_at: AwareDatetime

    @property
    def batches(self) -> int:
        """Number of batches."""
        return -(-self.total // self.batch_size)

    def span(self, batch: int) -> range:
        """Positions of a batch's images in the job."""
        first = batch * self.batch_size
        return range(first, min(first + self.batch_size, self.total))


class Stop(BaseModel, frozen=True):
    """Why a job ended before all batches were done."""

    status: Status
    reason: str
    at: AwareDatetime


class JobDraft:
    """A job being written; nothing of it is visible before `JobStore.commit`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inputs = folder / "inputs"

    def add_pack(self, batch: int, files: ImageFiles) -> None:
        """Pack the image files of one batch."""
        write_pack(self.inputs / pack_name(batch), files)


class JobStore:
    """All jobs below one storage root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "jobs"

    def ids(self) -> list[str]:
        """Ids of all jobs, sorted."""
        return list_folders(self.folder)

    def path(self, job_id: str) -> Path:
        """The job's folder, existing or not."""
        return self.folder / check_name(job_id, "job id")

    def get(self, job_id: str) -> Job:
        """Read a job; raises `NotFound` or `Corrupt`."""
        path = self.path(job_id) / "job.json"
        try:
            return Job.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise NotFound(
                f"There is no job {job_id!r} in {self.folder}: `producer jobs` lists them."
            ) from None
        except ValidationError:
            raise Corrupt(f"Job {job_id} is damaged: {path} cannot be read.") from None

    @contextmanager
    def draft(self) -> Iterator[JobDraft]:
        """Begin a job."""
        with draft_folder(self.folder) as folder:
            draft = JobDraft(folder)
            for name in ("inputs", "attempts", "results"):
                (folder / name).mkdir()
            yield draft

    def commit(self, draft: JobDraft, job: Job) -> bool:
        """Make the job visible, with all that it must contain, before the first message is sent.

        Its files survive a power cut; `settle` makes the job itself do so, which can wait until
        workers have begun. Returns False when the same job is there already; raises
        `AlreadyExists` when the id belongs to other images or another model.
        """
        content = job.model_dump_json(indent=2).encode()
        write_atomically(draft.folder / "job.json", content, durable=False)
        sync_tree(draft.folder)
        try:
            draft.folder.rename(self.path(job.id))
        except OSError:
            if not self.path(job.id).exists():
                raise
            present = self.get(job.id)
            if (present.fingerprint, present.model.name) == (job.fingerprint, job.model.name):
                return False
            raise AlreadyExists(
                f"Job {job.id} exists already with other images or another model "
                f"({present.source}, {present.model}): choose another --job-id."
            ) from None
        return True

    def settle(self) -> None:
        """Make all jobs committed so far survive a power cut."""
        sync_folder(self.folder)

    def remove(self, job_id: str) -> None:
        """Delete a job with all that is its own: gone at once, even when this is cut short."""
        with draft_folder(self.folder) as discarded:
            self.path(job_id).rename(discarded / "removed")

    # What is done

    def result_path(self, job: Job, batch: int) -> Path:
        """Where a batch's result is or will be."""
        return self.path(job.id) / "results" / f"{batch:06d}.npz"

    def has_result(self, job: Job, batch: int) -> bool:
        """Whether a batch is done."""
        return self.result_path(job, batch).exists()

    def done(self, job: Job) -> set[int]:
        """Numbers of all batches that have a result."""
        with os.scandir(self.path(job.id) / "results") as entries:
            return {int(e.name[:-4]) for e in entries if not e.name.startswith(".")}

    def read_result(self, job: Job, batch: int) -> BatchResult:
        """A batch's result; raises `Corrupt` when it is damaged or not of the pinned model."""
        path = self.result_path(job, batch)
        result = BatchResult.from_bytes(path.read_bytes(), path)
        if result.model != job.model:
            raise Corrupt(f"The result {path} is of {result.model}, the job is of {job.model}.")
        if len(result.predictions) != len(job.span(batch)):
            raise Corrupt(
                f"The result {path} has {len(result.predictions)} predictions, "
                f"its batch has {len(job.span(batch))} images."
            )
        return result

    def write_result(self, job: Job, batch: int, result: BatchResult) -> bool:
        """Write a result once; False for a harmless duplicate.

        The same batch with another outcome keeps the first, puts the second beside it and raises
        `ConflictingResult` naming both; of a job that reuses predictions, scores may differ in
        their last digits. Not fsynced: the file has checksums, and a batch lost to
        a power cut is computed again.
        """
        path = self.result_path(job, batch)
        content = result.to_bytes()
        try:
            present = path.read_bytes()
        except FileNotFoundError:
            write_atomically(path, content, durable=False)
            return True
        if present == content:
            return False
        try:
            kept = BatchResult.from_bytes(present, path)
        except Corrupt:
            write_atomically(path, content, durable=False)  # torn by a power cut
            return True
        if job.reuse and kept.agrees(result):
            return False
        conflicts = path.parent.parent / "conflicts"
        conflicts.mkdir(exist_ok=True)
        other = conflicts / path.name
        write_atomically(other, content)
        raise ConflictingResult(
            f"Batch {batch} of job {job.id} was computed twice with different outcomes: "
            f"{path} is kept, the other is {other}."
        )

    def discard_result(self, job: Job, batch: int) -> None:
        """Remove a damaged or failed result, so that the batch is computed again."""
        self.result_path(job, batch).unlink(missing_ok=True)

    # What stops it

    def stop(self, job: Job, status: Status, reason: str) -> None:
        """Cancel or fail a job. The first reason stays."""
        if self.stopped(job) is None:
            stop = Stop(status=status, reason=reason, at=datetime.now(UTC))
            write_atomically(
                self.path(job.id) / "stopped.json", stop.model_dump_json(indent=2).encode()
            )

    def stopped(self, job: Job) -> Stop | None:
        """Why a job was stopped, if it was."""
        try:
            return Stop.model_validate_json((self.path(job.id) / "stopped.json").read_bytes())
        except FileNotFoundError:
            return None

    def unstop(self, job: Job) -> None:
        """Let a stopped job go on."""
        (self.path(job.id) / "stopped.json").unlink(missing_ok=True)

    def status(self, job: Job, done: int) -> Status:
        """What has become of a job of which `done` batches have results."""
        if done == job.batches:
            return Status.COMPLETED
        if stop := self.stopped(job):
            return stop.status
        begun = done or any((self.path(job.id) / "attempts").iterdir())
        return Status.RUNNING if begun else Status.QUEUED

    def changed(self, job_id: str) -> tuple[float, float]:
        """Differs after a result or a reason to stop has come or gone, or the job is another."""
        folder = self.path(job_id)
        return modified(folder), modified(folder / "results")

    def completed_at(self, job: Job) -> datetime:
        """When the last result of a completed job was written."""
        with os.scandir(self.path(job.id) / "results") as entries:
            return datetime.fromtimestamp(max(e.stat().st_mtime for e in entries), UTC)

    # Who works on it

    def attempt_path(self, job: Job, batch: int) -> Path:
        """The log of attempts at a batch."""
        return self.path(job.id) / "attempts" / f"{batch:06d}.jsonl"

    def history(self, job: Job, batch: int, lease_seconds: float) -> History:
        """Who tried a batch so far."""
        return read_history(self.attempt_path(job, batch), lease_seconds)

    def begin_attempt(self, job: Job, batch: int) -> Attempt:
        """Log that this process runs a batch now."""
        return Attempt(self.attempt_path(job, batch))

    def successor(self, job: Job, batch: int) -> int | None:
        """The next batch without a result that follows `batch` in its chain.

        A job's batches form `window` chains, each `window` apart. Whoever finishes a batch sends
        its successor: the queue holds `window` batches of a job and nobody has to feed it.
        """
        later = range(batch + job.window, job.batches, job.window)
        return next((b for b in later if not self.has_result(job, b)), None)

    def heads(self, job: Job) -> list[int]:
        """The first batch without a result of each chain: what to send to get a job going."""
        done = self.done(job)
        chains = (range(first, job.batches, job.window) for first in range(job.window))
        heads = (next((b for b in chain if b not in done), None) for chain in chains)
        return [head for head in heads if head is not None]

    def stalled(self, job: Job, lease_seconds: float) -> list[int]:
        """Heads of chains where nothing has moved for a lease: nobody works, nothing was sent.

        Their messages may be lost, or may merely wait in the queue: whoever sends them again
        looks there first, and calls `note_sent`.
        """
        clock = self.path(job.id) / ".clock"
        clock.touch()
        now = clock.stat().st_mtime
        quiet_since = max(
            modified(self.path(job.id) / "job.json"), modified(self.path(job.id) / "sent")
        )

        def moved(batch: int) -> float:
            before = batch - job.window
            arrived = modified(self.result_path(job, before)) if before >= 0 else 0.0
            return max(quiet_since, arrived, modified(self.attempt_path(job, batch)))

        return [head for head in self.heads(job) if now - moved(head) > lease_seconds]

    def note_sent(self, job: Job) -> None:
        """Remember that messages of this job have just been sent."""
        (self.path(job.id) / "sent").touch()

    # Its images

    def pack_path(self, job: Job, batch: int) -> Path:
        """The packed image files of one batch."""
        return self.path(job.id) / "inputs" / pack_name(batch)

    def open_array(self, job: Job) -> Pixels:
        """Memory-mapped images (N, H, W[, C]) of a job over arrays.

        Raises `Corrupt` when the file is not the one that was submitted.
        """
        inputs = job.inputs
        assert isinstance(inputs, ArrayInputs)
        path = resolve_inside(self.root, inputs.images)
        try:
            stat = path.stat()
        except FileNotFoundError:
            raise Corrupt(f"The images of job {job.id} are gone: {path}.") from None
        if (stat.st_size, stat.st_mtime_ns) != (inputs.size, inputs.mtime_ns):
            raise Corrupt(
                f"The images of job {job.id} have changed since it was submitted: {path}. "
                "Submit them again."
            )
        images: Pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        return images

    def open_labels(self, job: Job) -> Labels | None:
        """Memory-mapped labels (N,) of a job over arrays, if it has any."""
        inputs = job.inputs
        assert isinstance(inputs, ArrayInputs)
        if inputs.labels is None:
            return None
        path = resolve_inside(self.root, inputs.labels)
        labels: Labels = np.load(path, mmap_mode="r", allow_pickle=False)
        return labels


def modified(path: Path) -> float:
    """Time of a file's last change by the storage's clock; 0 when it does not exist."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def pack_name(batch: int) -> str:
    """File name of a packed batch."""
    return f"{batch:06d}.arrow"
