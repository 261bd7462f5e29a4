"""Sources that are image files: folders, manifests and files named one by one.

Each kind only lists its images; `pack_images` reads them.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from producer.errors import BadManifest, SourceError, UnknownLabel
from producer.listing import LINK, holds_images, list_images
from producer.packing import Listed, pack_images
from producer.rows import read_rows, text_of
from producer.sources import Prepared, Request, list_briefly
from storage.errors import UnsafePath
from storage.files import resolve_inside
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


class ManifestSource:
    """A `.csv` or `.jsonl` file whose lines name a `path`, perhaps a `label` and an `id`.

    Paths are relative to the manifest's folder and stay inside it. Without an `id` the path is it.
    """

    dataset = None

    def __init__(self, path: Path) -> None:
        self.description = str(path)
        self._path = path

    def prepare(self, draft: JobDraft, request: Request) -> Prepared:
        """Pack the images; raises `BadManifest` naming the first line that cannot be used."""
        rows = read_rows(self._path, {"path": "a.png"})
        listed = (self._listed(line, row, request) for line, row in rows)
        return pack_images(listed, lambda item: item, draft, request, self.description)

    def _listed(self, line: int, row: dict[str, Any], request: Request) -> Listed:
        where = f"Line {line} of {self.description}"
        path, label, name = (text_of(row, key, where) for key in ("path", "label", "id"))
        if not path:
            raise BadManifest(f"{where} has no path: every line must name an image file.")
        try:
            file = resolve_inside(self._path.parent, path)
        except UnsafePath:
            raise BadManifest(
                f"{where} names {path!r}: paths must lead to files inside the manifest's folder, "
                "relative to it."
            ) from None
        if not file.is_file():
            raise BadManifest(f"{where} names {path!r}, but there is no such file.")
        if label and label not in request.labels:
            raise UnknownLabel(
                f"{where} has the label {label!r}, which {request.model} does not know: it knows "
                f"{list_briefly(list(request.labels))}."
            )
        return Listed(
            id=name or path,
            path=path,
            file=str(file),
            stored=stored_path(file, request.root),
            label=label or None,
        )


def stored_path(resolved: Path, root: Path) -> str | None:
    """A resolved path relative to the storage root; none when it lies elsewhere."""
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else None


def leads_out(folder: Path, relative: str) -> bool:
    """Whether a link in a resolved folder leads out of it."""
    return not (folder / relative).resolve().is_relative_to(folder)


def readable(name: str) -> str:
    """A file name as text: bytes that are not UTF-8 are shown as question marks."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "replace")
