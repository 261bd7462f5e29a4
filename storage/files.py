"""Whole files on shared storage: atomic writes, digests, and paths that stay inside their root.

The interface is deliberately small (put, get, list of whole files), so that an object store
could stand in for the folder.
"""

import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from storage.errors import BadName, Corrupt, StorageUnwritable, UnsafePath

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
NAME_RULE = (
    "up to 100 letters, digits, dots, dashes and underscores, beginning with a letter or digit"
)
TEMPORARY_PREFIX = ".new-"
LARGEST_FILE = 2**31
"""Bytes of the largest file that is read whole: more than any result has."""


class FileStamp(NamedTuple):
    """What tells whether a file is still the one that it was: nobody has to read it for that."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileStamp":
        """That of a file whose status was asked for."""
        return cls(status.st_size, status.st_mtime_ns)


def is_name(name: str) -> bool:
    """Whether `name` can be a folder name on shared storage."""
    return re.fullmatch(NAME_PATTERN, name) is not None


def check_name(name: str, kind: str) -> str:
    """Return `name` if it can be a folder name, else raise `BadName`."""
    if not is_name(name):
        raise BadName(f"{name!r} is no valid {kind}: use {NAME_RULE}.")
    return name


def printable(text: str) -> str:
    r"""The same text, with bytes of a path that are no UTF-8 spelt out as `\xff`."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Put `content` at `path` so that a reader sees the old file or the new one, never a part.

    `durable=False` skips the fsync: after a power cut the file may be missing or torn, so it
    is only for files that carry their own checksum and can be computed again.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            share(file.fileno(), path.parent)
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make every file below `folder` survive a power cut, and the names of all that is there.

    All of it gets the permissions of `folder`.
    """
    for parent, folders, names in os.walk(folder):
        for name in folders:
            share(Path(parent, name), Path(parent))
        for name in names:
            with Path(parent, name).open("rb") as file:
                share(file.fileno(), Path(parent))
                os.fsync(file.fileno())
        if folders or names:
            sync_folder(Path(parent))


def share(made: Path | int, folder: Path) -> None:
    """Give a new file or folder, or an open one, the permissions of the `folder` it was made in.

    Who may use shared storage is decided by its folders: the umask of one program must not lock
    the others out. Nothing happens where permissions cannot be set.
    """
    status = os.stat(made)  # noqa: PTH116 (it may be a descriptor)
    bits = 0o777 if stat.S_ISDIR(status.st_mode) else 0o666
    wanted = folder.stat().st_mode & bits
    if status.st_mode & bits != wanted:
        with suppress(OSError):  # somebody else's, or a file system without permissions
            os.chmod(made, stat.S_IMODE(status.st_mode) & ~bits | wanted)  # noqa: PTH101


def touch(path: Path) -> float:
    """Set a file's modification time to now and return it, by the clock of the storage."""
    new = not path.exists()
    path.touch()
    if new:
        share(path, path.parent)
    return path.stat().st_mtime


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def resolve_inside(root: Path, relative: str) -> Path:
    """The regular file or folder `relative` names below `root`; raises `UnsafePath` otherwise.

    `relative` may come from a stranger: absolute paths, `..`, NUL bytes, symlinks that lead out
    of the root, and pipes or devices, which can block their reader for ever, are refused. What
    does not exist passes.
    """
    pure = PurePosixPath(relative)
    if pure.is_absolute() or ".." in pure.parts or "\0" in relative or not pure.parts:
        raise UnsafePath(f"The path {relative!r} is not a plain path inside {root}.")
    try:
        resolved = (root / pure).resolve()
    except (RuntimeError, UnicodeError):  # links in a circle, until Python 3.13; a lone surrogate
        raise UnsafePath(f"The path {relative!r} leads nowhere.") from None
    if not resolved.is_relative_to(root.resolve()):
        raise UnsafePath(f"The path {relative!r} leads out of {root} through a symbolic link.")
    if resolved.exists() and not (resolved.is_file() or resolved.is_dir()):
        raise UnsafePath(f"The path {relative!r} is neither a regular file nor a folder.")
    return resolved


def read_inside(
    root: Path, relative: str, limit: int, folders: dict[str, str]
) -> tuple[bytes, FileStamp]:
    """The bytes of the regular file `relative` below `root`; raises `UnsafePath` and `OSError`.

    The stamp is taken after reading: what is written meanwhile shows in it. A file larger than
    `limit` raises `OSError` with `EFBIG`. `folders` remembers which folders lie inside: whoever
    reads many files passes the same one, and each folder is resolved only once.
    """
    folder, _, name = relative.rpartition("/")
    if folder not in folders:
        folders[folder] = str(resolve_inside(root, folder) if folder else root.resolve())
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        if name in ("", ".", ".."):
            raise UnsafePath(f"The path {relative!r} names no file.")
        descriptor = os.open(f"{folders[folder]}/{name}", flags)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        descriptor = os.open(resolve_inside(root, relative), flags)  # a link, but not leading out
    try:
        content = read_descriptor(descriptor, limit)
        stamp = FileStamp.of(os.fstat(descriptor))
    finally:
        os.close(descriptor)
    if content is None:
        raise UnsafePath(f"The path {relative!r} is not a regular file.")
    return content, stamp


def read_regular(path: Path) -> bytes:
    """The bytes of a file; raises `OSError`, and `Corrupt` for what is no regular file.

    A pipe that lies where a file belongs would block its reader for ever, and a file that only
    claims to be large would take all memory.
    """
    content = None
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags)
        try:
            content = read_descriptor(descriptor, LARGEST_FILE)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise Corrupt(f"{path} is larger than any file of its kind: remove it.") from None
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise
    if content is None:
        raise Corrupt(f"{path} is not a regular file: remove it.")
    return content


def discard(path: Path) -> None:
    """Remove a file, or what lies in its place, if there is anything; raises `OSError`."""
    try:
        path.unlink(missing_ok=True)
    except (IsADirectoryError, PermissionError):
        if not path.is_dir():
            raise
        path.rmdir()


def read_descriptor(descriptor: int, limit: int | None = None) -> bytes | None:
    """Read an open file whole; None for a pipe or device.

    Raises `OSError`, with `EISDIR` for a folder and `EFBIG` for one larger than `limit`.
    """
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        return None
    if limit is not None and status.st_size > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        return file.readall()


def make_folder(folder: Path) -> Path:
    """Create `folder` and its parents, or raise `StorageUnwritable` with the way out.

    It gets the permissions of its parent. Where that is new as well, the umask decides.
    """
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            share(folder, folder.parent)
    except OSError as error:
        raise unwritable(folder, error) from error
    return folder


def unwritable(folder: Path, error: OSError) -> StorageUnwritable:
    """The sentence for a folder that refuses a write."""
    return StorageUnwritable(
        f"Cannot write to shared storage at {folder} ({error.strerror}): make it writable or "
        "point BATCHSIGHT_STORAGE to a folder that is."
    )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time change what is in a folder; the lock dies with its process."""
    with (make_folder(folder) / ".lock").open("w") as lock:
        share(lock.fileno(), folder)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def draft_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder beside its future siblings, to be renamed into place or thrown away."""
    draft = make_folder(parent) / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    try:
        try:
            draft.mkdir()
            share(draft, parent)
        except OSError as error:
            raise unwritable(parent, error) from error
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def list_folders(parent: Path) -> list[str]:
    """Names of the finished folders in `parent`, sorted; none when it does not exist.

    Drafts, and what no store can have put there (`lost+found`, say), are left out.
    """
    try:
        with os.scandir(parent) as entries:
            return sorted(e.name for e in entries if is_name(e.name) and is_folder(e))
    except FileNotFoundError:
        return []


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry of a folder is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link that leads in a circle


def is_file(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry of a folder is a regular file, or a link to one."""
    try:
        return entry.is_file()
    except OSError:
        return False  # a link that leads in a circle


def modified(path: Path) -> float:
    """Time of a file's last change by the storage's clock; 0 when it does not exist."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
