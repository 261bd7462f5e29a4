"""All jobs on shared storage: how one is written, made visible, found and removed.

What lies in a job's folder, see `stored_job`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from storage.errors import AlreadyExists, Corrupt, NotFound, StorageError
from storage.files import (
    TEMPORARY_PREFIX,
    check_name,
    draft_folder,
    list_folders,
    make_folder,
    modified,
    read_regular,
    sync_folder,
    sync_tree,
    write_atomically,
)
from storage.identity import storage_id
from storage.jobs.inputs import ImageFiles, write_pack
from storage.jobs.job import Job
from storage.jobs.job_inputs import pack_name
from storage.jobs.stored_job import StoredJob


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

    def of(self, job: Job) -> StoredJob:
        """A job with all that lies on storage of it."""
        return StoredJob(self.root, self.path(job.id), job)

    def open(self, job_id: str) -> StoredJob:
        """The same by id; raises `NotFound` or `Corrupt`."""
        return self.of(self.get(job_id))

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

    def changed(self, job_id: str) -> tuple[float, float]:
        """Differs after a result or a reason to stop has come or gone, or the job is another."""
        folder = self.path(job_id)
        return modified(folder), modified(folder / "results")

    def stale_drafts(self, moment: datetime, job_id: str | None = None) -> list[Path]:
        """Drafts of jobs, or of files of one job, in which nothing has changed since `moment`."""
        folder = self.folder if job_id is None else self.path(job_id)
        drafts = sorted(folder.glob(f"{TEMPORARY_PREFIX}*"))
        since = moment.timestamp()
        return [d for d in drafts if max(map(modified, (d, *d.glob("inputs")))) < since]


@contextmanager
def apart(job_id: str, on_fault: Callable[[str], object]) -> Iterator[None]:
    """Look at one job of many: whatever is wrong with it is told, and costs no other job."""
    try:
        yield
    except StorageError as error:
        on_fault(str(error))
    except OSError as error:
        on_fault(f"Job {job_id} cannot be used: {error.filename or ''} ({error.strerror}).")
