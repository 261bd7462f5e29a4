"""Shared storage, as this process sees it."""

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from storage.errors import StorageError
from storage.files import TEMPORARY_PREFIX
from storage.identity import present_id, storage_id


@dataclass(frozen=True, kw_only=True)
class StorageFacts:
    """Shared storage as this process sees it."""

    root: str
    id: str | None
    problem: str | None
    """Why it cannot be written."""
    new: bool = False
    """Whether nobody had used it before this look."""
    free_bytes: int = 0
    total_bytes: int = 0


def look_at_storage(root: Path) -> StorageFacts:
    """Create the storage root if need be, as who submits a job does, and write to it."""
    new = present_id(root) is None
    try:
        identity = storage_id(root)
        jobs = root / "jobs"  # may be a mount of its own
        probe = jobs / f"{TEMPORARY_PREFIX}doctor-{secrets.token_hex(4)}"
        probe.write_bytes(b"a file that is removed at once")
        probe.unlink()
        usage = shutil.disk_usage(jobs)
    except StorageError as error:
        cause = error.__cause__
        reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
        return StorageFacts(root=str(root), id=None, problem=reason)
    except OSError as error:
        return StorageFacts(root=str(root), id=None, problem=error.strerror or str(error))
    return StorageFacts(
        root=str(root),
        id=identity,
        problem=None,
        new=new,
        free_bytes=usage.free,
        total_bytes=usage.total,
    )
