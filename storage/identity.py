"""Which storage this is, and whether it is there: a random id among its jobs, the same for all.

Not in the root: `datasets`, `models` and `jobs` may be mounts of their own, and jobs are what every
program can write. What is mounted can go away: then its folder is gone, or an empty one, or the one
that it hid, and nothing that is missing there may be taken for lost.
"""

import errno
import os
import secrets
from pathlib import Path, PurePosixPath
from uuid import uuid4

from storage.errors import Corrupt, StorageAway, StorageUnwritable
from storage.files import TEMPORARY_PREFIX, list_folders, make_folder, share, unwritable

ID_FILE = "jobs/.storage-id"
NO_ROOM = "has no room left: make some"
REFUSALS = {
    errno.ENOSPC: NO_ROOM,
    errno.EDQUOT: NO_ROOM,
    errno.EROFS: "is read-only here: jobs must be writable",
}
"""What storage as a whole may refuse, whatever it was that somebody wanted to write."""


def storage_id(root: Path) -> str:
    """The id below `root`, created on first use.

    Two programs with different ids see different folders. Raises `StorageUnwritable`, or
    `Corrupt` when the file holds no id.
    """
    path = root / ID_FILE
    make_folder(path.parent)
    try:
        if not path.exists():
            _put_new(path, uuid4().hex)
        known = path.read_text("ascii", "replace").strip()
    except OSError as error:
        raise unwritable(root, error) from error
    if not known.isalnum() or not known.isascii():
        raise Corrupt(f"The file {path} holds no id: remove it, and it is created anew.")
    return known


def present_id(root: Path) -> str | None:
    """The id below `root`, if there is one; nothing is created."""
    try:
        return (root / ID_FILE).read_text("ascii").strip() or None
    except (OSError, UnicodeError):
        return None


def require_content(folder: Path, since: float = 0.0) -> None:
    """Raise `StorageAway` when a folder that must hold something does not: it is not mounted.

    Unless it was changed after `since` (seconds since 1970): then somebody has emptied it.
    """
    try:
        with os.scandir(folder) as entries:
            if any(e.name != "lost+found" and not e.name.startswith(".") for e in entries):
                return
        if since and folder.stat().st_mtime > since:
            return
    except OSError:
        pass
    raise StorageAway(
        f"The folder {folder} is missing or empty here: mount the volume that belongs there."
    )


def require_source(root: Path, relative: str, since: float) -> None:
    """`require_content` for the first folder of a path below the root, which may be a mount."""
    folder, *rest = PurePosixPath(relative).parts
    if rest:
        require_content(root / folder, since)


def refusal_of(error: BaseException, root: Path) -> StorageAway | None:
    """What an error says of storage as a whole; none where it is that of one file."""
    cause = error.__cause__ if isinstance(error, StorageUnwritable) else error
    says = REFUSALS.get(cause.errno or 0) if isinstance(cause, OSError) else None
    return StorageAway(f"Shared storage at {root} {says}.") if says else None


class StorageWatch:
    """Looks whether the storage that a process has seen first is still there.

    `seen` is its id, where that is known already.
    """

    def __init__(self, root: Path, seen: str | None = None) -> None:
        self.root = root
        self._seen = seen

    def look(self) -> str:
        """The id of the storage; raises `StorageError`.

        It is made by whoever stores the first job, never here where there is none: an empty folder
        is what a mount had hidden. Another storage is taken over if it holds jobs.
        """
        jobs = self.root / "jobs"
        try:
            if list_folders(jobs):
                storage_id(self.root)
        except OSError as error:
            raise unwritable(self.root, error) from error
        found = present_id(self.root)
        if found is None and self._seen is None:
            raise StorageAway(
                f"Shared storage at {self.root} is empty: if it is new, submit a job; if not, "
                "mount it, or point BATCHSIGHT_STORAGE to where it is."
            )
        if found is None:
            raise StorageAway(
                f"Shared storage is not there at {self.root} ({ID_FILE} is missing): mount it, or "
                "point BATCHSIGHT_STORAGE to where it is."
            )
        if found != self._seen and self._seen and not list_folders(jobs):
            raise StorageAway(
                f"Another, empty folder lies at {self.root} instead of shared storage: mount it."
            )
        if not os.access(jobs, os.W_OK):
            raise StorageUnwritable(
                f"Shared storage at {self.root} is read-only here: jobs must be writable."
            )
        self._seen = found
        return found


def _put_new(path: Path, content: str) -> None:
    """Write a file that is not there yet, whole or not at all: of two programs the first counts."""
    temporary = path.with_name(f"{TEMPORARY_PREFIX}id-{secrets.token_hex(4)}")
    try:
        temporary.write_text(content, "ascii")
        share(temporary, path.parent)
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink(missing_ok=True)
