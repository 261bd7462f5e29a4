"""The image files below a folder, in a fixed order, without holding all their names in memory."""

import heapq
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from producer.errors import SourceError
from storage.images import SUFFIXES

RUN_LENGTH = 50_000
"""Names sorted in memory at a time: a folder with more is sorted through temporary files."""

LEADS_OUT = "a symbolic link that leads out of the folder"


def image_files(folder: Path) -> Iterator[tuple[str, str | None]]:
    """Relative paths of all image files below `folder`, sorted name by name.

    With each comes the reason why it must not be read, if there is one. Hidden files and links
    to folders are passed over, as is whatever has no image suffix.
    """
    root = folder.resolve()

    def walk(below: str) -> Iterator[tuple[str, str | None]]:
        for name, kind in sorted_entries(folder / below):
            relative = f"{below}/{name}" if below else name
            if kind == "folder":
                yield from walk(relative)
            elif kind == "link" and not (folder / relative).resolve().is_relative_to(root):
                yield relative, LEADS_OUT
            else:
                yield relative, None

    return walk("")


def sorted_entries(folder: Path, run_length: int = RUN_LENGTH) -> Iterator[tuple[str, str]]:
    """Name and kind (file, link, folder) of what counts in one folder, sorted by name."""
    runs: list[Iterator[tuple[str, str]]] = []
    names: list[tuple[str, str]] = []
    for entry in entries(folder):
        names.append(entry)
        if len(names) == run_length:
            runs.append(spilled(sorted(names)))
            names = []
    names.sort()
    return heapq.merge(*runs, names) if runs else iter(names)


def entries(folder: Path) -> Iterator[tuple[str, str]]:
    """Name and kind of the subfolders and image files of one folder, in no order."""
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield entry.name, "folder"
                elif entry.name[entry.name.rfind(".") :].lower() in SUFFIXES and entry.is_file():
                    yield entry.name, "link" if entry.is_symlink() else "file"
    except OSError as error:
        raise SourceError(f"The folder {folder} cannot be read ({error.strerror}).") from None


def spilled(run: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The same entries, from a temporary file that is written now and read back later."""
    file = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115 (closed once read)
    file.writelines(json.dumps(entry) + "\n" for entry in run)
    file.seek(0)

    def read_back() -> Iterator[tuple[str, str]]:
        with file:
            for line in file:
                name, kind = json.loads(line)
                yield name, kind

    return read_back()


def subfolders(folder: Path) -> list[str]:
    """Names of a folder's subfolders, sorted."""
    return sorted(name for name, kind in entries(folder) if kind == "folder")


def holds_images(folder: Path) -> bool:
    """Whether there is any image below a folder. Looks no further than the first."""
    found = entries(folder)
    folders = []
    for name, kind in found:
        if kind != "folder":
            return True
        folders.append(name)
    return any(holds_images(folder / name) for name in folders)
