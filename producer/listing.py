"""The image files below a folder, in a fixed order, without holding all their names in memory."""

import heapq
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from producer.errors import SourceError
from storage.images import SUFFIXES

RUN_LENGTH = 200_000
"""Names sorted in memory at a time, some 70 bytes each: more are sorted through temporary files."""
NAMES_A_LINE = 1_000

FOLDER, LINK = "\0folder", "\0link"
"""What is no plain file is marked behind its name. No name contains a NUL, and all other characters
come after it: marked names are sorted like unmarked ones, and need no object of their own."""


class Listing(NamedTuple):
    """What is in a folder."""

    subfolders: list[str]
    """Names of the folders directly in it, in no order."""
    files: Iterator[str]
    """Relative paths of all image files below it, sorted name by name; links end with `LINK`."""


def list_images(folder: Path) -> Listing:
    """The image files below `folder`.

    Hidden files and links to folders are passed over, as is whatever has no image suffix.
    """

    def walk(below: str, entries: Iterator[str]) -> Iterator[str]:
        for entry in entries:
            if entry.endswith(FOLDER):
                inner = below + entry.removesuffix(FOLDER)
                yield from walk(f"{inner}/", sorted_entries(folder / inner))
            else:
                yield below + entry

    subfolders: list[str] = []
    return Listing(subfolders, walk("", sorted_entries(folder, subfolders)))


def sorted_entries(
    folder: Path, subfolders: list[str] | None = None, run_length: int = RUN_LENGTH
) -> Iterator[str]:
    """The entries of one folder, sorted by name; all `subfolders` are noted before the first."""
    runs: list[Iterator[str]] = []
    names: list[str] = []
    for entry in entries(folder):
        names.append(entry)
        if subfolders is not None and entry.endswith(FOLDER):
            subfolders.append(entry.removesuffix(FOLDER))
        if len(names) == run_length:
            runs.append(spilled(sorted(names)))
            names = []
    names.sort()
    return heapq.merge(*runs, names) if runs else iter(names)


def entries(folder: Path) -> Iterator[str]:
    """The subfolders and image files of one folder, in no order."""
    try:
        with os.scandir(folder) as found:
            for entry in found:
                name = entry.name
                if name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield name + FOLDER
                elif name[name.rfind(".") :].lower() in SUFFIXES and entry.is_file():
                    yield name + LINK if entry.is_symlink() else name
    except OSError as error:
        raise SourceError(f"The folder {folder} cannot be read ({error.strerror}).") from None


def spilled(run: list[str]) -> Iterator[str]:
    """The same entries, from a temporary file that is written now and read back later."""
    file = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115 (closed once read)
    for i in range(0, len(run), NAMES_A_LINE):
        file.write(json.dumps(run[i : i + NAMES_A_LINE]) + "\n")
    file.seek(0)

    def read_back() -> Iterator[str]:
        with file:
            for line in file:
                yield from json.loads(line)

    return read_back()


def holds_images(folder: Path) -> bool:
    """Whether there is any image below a folder. Looks no further than the first."""
    folders = []
    for entry in entries(folder):
        if not entry.endswith(FOLDER):
            return True
        folders.append(entry.removesuffix(FOLDER))
    return any(holds_images(folder / name) for name in folders)
