"""Jobs on shared storage: what each must contain, and what of it is done.

    jobs/<id>/job.json                 immutable: source, pinned model, batches
    jobs/<id>/inputs/                  only what does not lie on storage already
    jobs/<id>/attempts/<batch>.jsonl   who tried, see `attempts`
    jobs/<id>/attempts/<batch>.npz     what a long attempt has finished so far
    jobs/<id>/results/<batch>.npz      a batch is done when this exists, see `results`
    jobs/<id>/stopped.json             cancelled or failed, with the reason

A job's status is never stored: it follows from which files exist. All of Redis may be lost
without losing a job.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AwareDatetime, BaseModel, Field, ValidationError, field_validator

from imaging.images import Pixels
from storage.datasets.store import Labels
from storage.errors import AlreadyExists, ConflictingResult, Corrupt, NotFound, StorageError
from storage.files import (
    NAME_PATTERN,
    check_name,
    discard,
    draft_folder,
    is_file,
    list_folders,
    make_folder,
    printable,
    read_regular,
    resolve_inside,
    sync_folder,
    sync_tree,
    touch,
    write_atomically,
)
from storage.identity import storage_id
from storage.jobs.attempts import Attempt, History, read_events, read_history
from storage.jobs.inputs import ArrayInputs, FileInputs, ImageFiles, write_pack
from storage.jobs.results import BatchResult, count_errors
from storage.models.store import ModelPin

DUPLICATE = "duplicate"
"""The outcome of an attempt whose batch had the same result by then."""


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

    @field_validator("source", mode="before")
    @classmethod
    def _printable(cls, source: Any) -> Any:
        return printable(source) if isinstance(source, str) else source

    @property
    def array(self) -> ArrayInputs | None:
        """The array that its images lie in; none if they are files."""
        return self.inputs if isinstance(self.inputs, ArrayInputs) else None

    def __hash__(self) -> int:
        return hash((self.id, self.created_at))  # what was passed over is a dictionary

    @property
    def batches(self) -> int:
        """Number of batches."""
        return -(-self.total // self.batch_size)

    def span(self, batch: int) -> range:
        """Positions of a batch's images in the job."""
        first = batch * self.batch_size
        return range(first, min(first + self.batch_size, self.total))

    def excess(self, failed: int) -> str | None:
        """Why a job with so many failed images has failed; none when it allows them."""
        if self.max_failure_rate is None or failed / self.total <= self.max_failure_rate:
            return None
        return (
            f"{failed} of {self.total} images failed, "
            f"more than --max-failure-rate {self.max_failure_rate:g} allows."
        )


class End(BaseModel, frozen=True):
    """How, why and when a job ended."""

    status: Status
    reason: str | None
    """Why it failed or was cancelled; none for a completed job."""
    at: AwareDatetime


class Stop(End, frozen=True):
    """What ends a job before all of its batches are done, or although they are."""

    reason: str

    @field_validator("status")
    @classmethod
    def _stops(cls, status: Status) -> Status:
        if status not in (Status.CANCELLED, Status.FAILED):
            raise ValueError(f"{status} is no reason to stop")
        return status


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
            job = Job.model_validate_json(read_regular(path))
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(
                f"There is no job {job_id!r} in {self.folder}: `producer jobs` lists them."
            ) from None
        except (ValidationError, Corrupt):
            raise Corrupt(
                f"Job {job_id} is damaged: {path} cannot be read. Restore it, or remove its folder."
            ) from None
        if job.id != job_id:
            raise Corrupt(
                f"Job {job_id} is damaged: {path} is that of job {job.id}. Rename its folder back, "
                "or remove it."
            )
        return job

    @contextmanager
    def draft(self) -> Iterator[JobDraft]:
        """Begin a job."""
        with draft_folder(self.folder) as folder:
            draft = JobDraft(folder)
            for name in ("inputs", "attempts", "results"):
                make_folder(folder / name)
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
        storage_id(self.root)  # made with the first job: workers wait for it
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
        return self.path(job.id) / "results" / result_name(batch)

    def has_result(self, job: Job, batch: int) -> bool:
        """Whether a batch is done."""
        return self.result_path(job, batch).is_file()

    def done(self, job: Job) -> set[int]:
        """Numbers of all batches that have a result."""
        return {batch for batch, _ in self._results(job)}

    def _results(self, job: Job) -> Iterator[tuple[int, "os.DirEntry[str]"]]:
        """The results there are; whatever else lies beside them is none."""
        with os.scandir(self.path(job.id) / "results") as entries:
            for entry in entries:
                number = entry.name.removesuffix(".npz")
                if (
                    number.isascii()
                    and number.isdecimal()
                    and entry.name == result_name(int(number))
                    and int(number) < job.batches
                    and is_file(entry)
                ):
                    yield int(number), entry

    def read_result(self, job: Job, batch: int) -> BatchResult:
        """A batch's result; raises `Corrupt`, with the way out, when it cannot be that."""
        try:
            return self._parse(job, batch, read_regular(self.result_path(job, batch)))
        except Corrupt as error:
            raise Corrupt(f"{error} `producer resume {job.id}` computes it again.") from None

    def _parse(self, job: Job, batch: int, content: bytes) -> BatchResult:
        path = self.result_path(job, batch)
        result = BatchResult.from_bytes(content, path)
        if result.model != job.model:
            raise Corrupt(f"The result {path} is of {result.model}, the job is of {job.model}.")
        if fault := result.nonsense(len(job.span(batch)), len(job.labels)):
            raise Corrupt(f"The result {path} {fault}.")
        return result

    def write_result(self, job: Job, batch: int, result: BatchResult) -> bool:
        """Write a result once; False for a batch that was computed twice with the same outcome.

        The first result stays, unless it is damaged. With another outcome, see
        `BatchResult.agrees`, the second is put beside it and `ConflictingResult` names both.
        Not fsynced: the file has checksums, and a batch lost to a power cut is computed again.
        """
        path = self.result_path(job, batch)
        content = result.to_bytes()
        try:
            present = read_regular(path)
            if present == content:
                return False
            kept = self._parse(job, batch, present)
        except (FileNotFoundError, Corrupt):  # missing, or torn by a power cut
            if path.is_dir():
                raise
            write_atomically(path, content, durable=False)
            self._saved_path(job, batch).unlink(missing_ok=True)
            return True
        if kept.agrees(result):
            return False
        other = make_folder(self._conflicts(job)) / path.name
        write_atomically(other, content)
        raise ConflictingResult(self.conflict_between(job, batch, kept, result))

    def save(self, job: Job, batch: int, result: BatchResult) -> None:
        """Keep what is finished of a batch, its first images, should the attempt end here."""
        path = self._saved_path(job, batch)
        make_folder(path.parent)
        write_atomically(path, result.to_bytes(), durable=False)

    def saved(self, job: Job, batch: int) -> BatchResult | None:
        """What a former attempt has finished, if there is any of the same model."""
        path = self._saved_path(job, batch)
        try:
            result = BatchResult.from_bytes(read_regular(path), path)
        except (FileNotFoundError, Corrupt):
            return None
        count = len(result.predictions)
        fits = result.model == job.model and count < len(job.span(batch))
        return result if fits and not result.nonsense(count, len(job.labels)) else None

    def _saved_path(self, job: Job, batch: int) -> Path:
        return self.attempt_path(job, batch).with_suffix(".npz")

    def conflict_between(
        self, job: Job, batch: int, kept: BatchResult, other: BatchResult
    ) -> str | None:
        """What two results of one batch say differently, and the way out; none if they agree."""
        if kept.agrees(other):
            return None
        path = self.result_path(job, batch)
        images = int(kept.differing(other).sum())
        return (
            f"Batch {batch} of job {job.id} was computed twice with different outcomes, for "
            f"{images} of its {len(kept.predictions)} images: {path} is kept, the other is "
            f"{self._conflicts(job) / path.name}. `producer resume {job.id}` computes it again."
        )

    def _conflicts(self, job: Job) -> Path:
        """Where results lie that were second and had another outcome than the first."""
        return self.path(job.id) / "conflicts"

    def conflicts(self, job: Job) -> dict[int, str | None]:
        """By batch that has a second result kept beside its first, what these say differently.

        None where they agree. A damaged one says nothing.
        """
        found = {}
        for batch in sorted(self.done(job)):
            path = self._conflicts(job) / result_name(batch)
            if path.is_file():
                with suppress(Corrupt):
                    other = self._parse(job, batch, read_regular(path))
                    kept = self.read_result(job, batch)
                    found[batch] = self.conflict_between(job, batch, kept, other)
        return found

    def repeated(self, job: Job) -> int:
        """How many batches were computed more than once with the same outcome."""
        again = {batch for batch, conflict in self.conflicts(job).items() if conflict is None}
        for batch in range(job.batches):
            events = read_events(self.attempt_path(job, batch))
            if any(event.get("outcome") == DUPLICATE for event in events):
                again.add(batch)
        return len(again)

    def discard_result(self, job: Job, batch: int) -> None:
        """Remove a damaged, failed or doubtful result, so that the batch is computed again."""
        discard(self.result_path(job, batch))
        discard(self._conflicts(job) / result_name(batch))

    # What stops it

    def stop(self, job: Job, status: Status, reason: str) -> None:
        """Cancel or fail a job. The first reason stays."""
        if self.stopped(job) is None:
            stop = Stop(status=status, reason=reason, at=datetime.now(UTC))
            write_atomically(self._stop_path(job), stop.model_dump_json(indent=2).encode())

    def _stop_path(self, job: Job) -> Path:
        return self.path(job.id) / "stopped.json"

    def stopped(self, job: Job) -> Stop | None:
        """Why a job was stopped, if it was. Where that cannot be read, it has failed."""
        path = self._stop_path(job)
        try:
            return Stop.model_validate_json(read_regular(path))
        except FileNotFoundError:
            return None
        except (ValidationError, Corrupt):
            return Stop(
                status=Status.FAILED,
                reason=f"{path} is damaged: `producer resume {job.id}` takes the job up again.",
                at=datetime.fromtimestamp(modified(path), UTC),
            )

    def unstop(self, job: Job) -> None:
        """Let a stopped job go on."""
        discard(self._stop_path(job))

    # What has become of it

    def end(self, job: Job, done: int, failed: int | None = None) -> End | None:
        """How a job ended of which `done` batches have results; none while it goes on.

        It has failed when it was stopped for that, or when more images have failed than it
        allows, be it in its last batch. Who knows how many have `failed` saves their counting.
        """
        stop = self.stopped(job)
        if done < job.batches or (stop and stop.status is Status.FAILED):
            return stop
        reason = None
        if job.max_failure_rate is not None:
            reason = job.excess(self.failed_images(job) if failed is None else failed)
        status = Status.FAILED if reason else Status.COMPLETED
        return End(status=status, reason=reason, at=self.completed_at(job))

    def ended_at(self, job: Job) -> datetime | None:
        """When a job ended; none while it goes on. For this no failed image is counted."""
        end = self.end(job, len(self.done(job)), failed=0)
        return end.at if end else None

    def status(self, job: Job, done: int, failed: int | None = None) -> Status:
        """What has become of a job, see `end`."""
        if end := self.end(job, done, failed):
            return end.status
        begun = done or any((self.path(job.id) / "attempts").glob("*.jsonl"))
        return Status.RUNNING if begun else Status.QUEUED

    def failed_images(self, job: Job) -> int:
        """Images with an error record. A damaged result counts none."""
        failed = 0
        for batch in self.done(job):
            path = self.result_path(job, batch)
            with suppress(Corrupt, FileNotFoundError):
                failed += count_errors(read_regular(path), path)
        return failed

    def changed(self, job_id: str) -> tuple[float, float]:
        """Differs after a result or a reason to stop has come or gone, or the job is another."""
        folder = self.path(job_id)
        return modified(folder), modified(folder / "results")

    def completed_at(self, job: Job) -> datetime:
        """When the last result of a completed job was written."""
        written = [entry.stat().st_mtime for _, entry in self._results(job)]
        return datetime.fromtimestamp(max(written, default=0.0), UTC)

    # Who works on it

    def attempt_path(self, job: Job, batch: int) -> Path:
        """The log of attempts at a batch."""
        return self.path(job.id) / "attempts" / f"{batch:06d}.jsonl"

    def history(self, job: Job, batch: int, lease_seconds: float) -> History:
        """Who tried a batch so far."""
        return read_history(self.attempt_path(job, batch), lease_seconds)

    def begin_attempt(self, job: Job, batch: int, lease_seconds: float | None = None) -> Attempt:
        """Log that this process runs a batch now, and how far apart its heartbeats may be."""
        path = self.attempt_path(job, batch)
        make_folder(path.parent)  # copies of a job may lack what was empty
        return Attempt(path, lease_seconds)

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
        now = touch(self.path(job.id) / ".clock")
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
        touch(self.path(job.id) / "sent")

    # Its images

    def pack_path(self, job: Job, batch: int) -> Path:
        """The packed image files of one batch."""
        return self.path(job.id) / "inputs" / pack_name(batch)

    def open_array(self, job: Job) -> Pixels:
        """Memory-mapped images (N, H, W[, C]) of a job over arrays.

        Raises `Corrupt` when the file is not the one that was submitted.
        """
        inputs = job.array
        assert inputs
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
        assert job.array
        if job.array.labels is None:
            return None
        path = resolve_inside(self.root, job.array.labels)
        labels: Labels = np.load(path, mmap_mode="r", allow_pickle=False)
        return labels


@contextmanager
def apart(job_id: str, on_fault: Callable[[str], object]) -> Iterator[None]:
    """Look at one job of many: whatever is wrong with it is told, and costs no other job."""
    try:
        yield
    except StorageError as error:
        on_fault(str(error))
    except OSError as error:
        on_fault(f"Job {job_id} cannot be used: {error.filename or ''} ({error.strerror}).")


def result_name(batch: int) -> str:
    """File name of a batch's result."""
    return f"{batch:06d}.npz"


def modified(path: Path) -> float:
    """Time of a file's last change by the storage's clock; 0 when it does not exist."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def pack_name(batch: int) -> str:
    """File name of a packed batch."""
    return f"{batch:06d}.arrow"
