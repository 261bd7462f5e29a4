"""Sources that are image files: folders and files named one by one.

Each kind only lists its images; `pack_images` reads them.
"""

import os
from collections.abc import Callable
from pathlib import Path

from producer.errors import SourceError
from producer.listing import LINK, holds_images, list_images
from producer.packing import Listed, pack_images
from producer.sources import Prepared, Request, list_briefly
from producer.unique import first_repeated
from storage.jobs import JobDraft

LEADS_OUT = "a symbolic link that leads out of the folder"


class FolderSource:
    """All images below a folder, sorted by path; class subfolders give their labels."""

    dataset = None

    def __init__(self, path: Path) -> None:
        self.description = str(path)
        self._path = path

    def prepare(self, draft: JobDraft, request: Request) -> Prepared:
        """Pack the images. They are labelled when all subfolders with images are labels."""
        folder = self._path.resolve()
        listing = list_images(folder)
        names = sorted(name for name in listing.subfolders if holds_images(folder / name))
        labelled = bool(names) and set(names) <= set(request.labels)
        notes = []
        if names and not labelled:
            strange = [name for name in names if name not in request.labels]
            notes.append(
                f"The images of {self.description} are taken as unlabelled: its subfolders "
                f"({list_briefly(strange)}) are not the labels of {request.model}."
            )
        describe = self._describer(folder, labelled, request.root)
        return pack_images(listing.files, describe, draft, request, self.description, notes)

    def _describer(self, folder: Path, labelled: bool, root: Path) -> Callable[[str], Listed]:
        """Describes a listed file. Plain strings: pathlib would take as long as reading them."""
        stored = stored_path(folder, root)
        below = None if stored is None else f"{stored}/".removeprefix("./")
        shown = readable(os.path.join(self._path, ""))  # noqa: PTH118

        def describe(entry: str) -> Listed:
            relative = entry.removesuffix(LINK)
            is_link = len(relative) < len(entry)
            id = readable(relative)
            top, inside, _ = relative.partition("/") if labelled else ("", "", "")
            return Listed(
                id,
                f"{shown}{id}",
                f"{folder}/{relative}",
                None if below is None else f"{below}{relative}",
                top if inside else None,
                LEADS_OUT if is_link and leads_out(folder, relative) else None,
            )

        return describe


class FilesSource:
    """Image files named one by one."""

    dataset = None

    def __init__(self, paths: list[Path]) -> None:
        self.description = readable(list_briefly([str(path) for path in paths], most=3))
        self._paths = paths
        for path in paths:
            if path.is_dir():
                raise SourceError(f"{path} is a folder: submit it alone, or only image files.")
            if not path.is_file():
                raise SourceError(f"There is no file {path}.")
        if repeated := first_repeated(lambda: (readable(str(path)) for path in paths)):
            raise SourceError(f"{repeated[0]} is named twice: name each file once.")

    def prepare(self, draft: JobDraft, request: Request) -> Prepared:
        """Pack the images, in the order given."""

        def describe(path: Path) -> Listed:
            return Listed(
                id=readable(str(path)),
                path=readable(str(path)),
                file=str(path),
                stored=stored_path(path.resolve(), request.root),
            )

        return pack_images(self._paths, describe, draft, request, self.description)


def stored_path(resolved: Path, root: Path) -> str | None:
    """A resolved path relative to the storage root; none when it lies elsewhere."""
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else None


def leads_out(folder: Path, relative: str) -> bool:
    """Whether a link in a resolved folder leads out of it."""
    return not (folder / relative).resolve().is_relative_to(folder)


def readable(name: str) -> str:
    """A file name as text: bytes that are not UTF-8 are shown as question marks."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "replace")
