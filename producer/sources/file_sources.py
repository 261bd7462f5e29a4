"""Sources that are image files: folders and files named one by one.

Each kind only lists its images; `pack_images` reads them.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from imaging.image_folders import KINDS, Listing, describe_passed_over, list_images
from producer.errors import EmptySource, SourceError
from producer.sources.packing import Listed, pack_images
from producer.sources.source import Prepared, Request, list_briefly
from producer.sources.unique_ids import first_repeated
from storage.class_names import Classes
from storage.files import printable
from storage.jobs.store import JobDraft
from storage.split_names import split_called

SUBMITTED_SPLITS = ("test", "validation", "train")
"""Which of a data set's splits people submit, the likeliest first."""
LEADS_OUT = "a symbolic link that leads out of the folder: --follow-links takes it"


class FolderSource:
    """All images below a folder, sorted by path; class subfolders give their labels."""

    dataset = None

    def __init__(self, path: Path) -> None:
        self.description = printable(str(path))
        self._path = path

    def prepare(self, draft: JobDraft, request: Request) -> Prepared:
        """Pack the images. Those in subfolders that are called like labels have these."""
        folder = self._path.resolve()
        try:
            listing = list_images(folder, follow_links=request.follow_links, strict=request.strict)
        except OSError as error:
            where, why = printable(str(error.filename)), error.strerror
            raise SourceError(f"The folder {where} cannot be read ({why}).") from None
        notes = passed_over_notes(listing)
        if not listing.files:
            nothing = f"{self.description} holds no images: there is nothing to classify."
            raise EmptySource(" ".join([nothing, *notes]))
        subfolders = Counter(name.partition("/")[0] for name in listing.files if "/" in name)
        labels = labels_of(subfolders, request.labels)
        notes += self._label_notes(listing.files, subfolders, labels, request)
        describe = self._describer(folder, listing.linked, labels, request)
        prepared = pack_images(listing.files, describe, draft, request, self.description, notes)
        return replace(prepared, passed_over=listing.passed_over)

    def _label_notes(
        self,
        files: Sequence[str],
        subfolders: Counter[str],
        labels: Mapping[str, str],
        request: Request,
    ) -> list[str]:
        """Which images have no label although they could be expected to."""
        notes, total = [], len(files)
        if strange := sorted(subfolders.keys() - labels.keys()):
            count = sum(subfolders[name] for name in strange)
            named = list_briefly([printable(name) for name in strange])
            why = (
                f"its subfolder ({named}) is not a label"
                if count == 1
                else f"their subfolders ({named}) are not the labels"
            )
            notes.append(
                f"{self._unlabelled(count, total)}: {why} of {request.model} "
                f"({list_briefly(request.labels)}){self._split_hint(files, strange, request)}."
            )
        if labels and (count := total - subfolders.total()):
            lies = "it lies" if count == 1 else "they lie"
            notes.append(f"{self._unlabelled(count, total)}: {lies} in no subfolder.")
        return notes

    def _split_hint(self, files: Sequence[str], strange: Iterable[str], request: Request) -> str:
        """Which subfolder may have been meant where they are the splits of a data set."""
        splits = {split_called(name): name for name in strange}
        chosen = next((splits[split] for split in SUBMITTED_SPLITS if split in splits), None)
        if chosen is None:
            return ""
        inside = [name.split("/")[1:-1] for name in files if name.startswith(f"{chosen}/")]
        labelled = labels_of({names[0] for names in inside if names}, request.labels)
        labels = ", labelled by its subfolders" if labelled else ""
        path = printable(str(self._path / chosen))
        return f"; submit {path} to have the images of that one alone{labels}"

    def _unlabelled(self, count: int, total: int) -> str:
        if count == total > 1:
            return f"None of the {total:,} images of {self.description} has a label"
        are = "is" if count == 1 else "are"
        return f"{count:,} of the {total:,} images of {self.description} {are} taken as unlabelled"

    def _describer(
        self, folder: Path, linked: frozenset[str], labels: Mapping[str, str], request: Request
    ) -> Callable[[str], Listed]:
        """Describes a listed file. Plain strings: pathlib would take as long as reading them."""
        stored = stored_path(folder, request.root)
        below = None if stored is None else f"{stored}/".removeprefix("./")
        shown = printable(os.path.join(self._path, ""))  # noqa: PTH118

        def describe(relative: str) -> Listed:
            id = printable(relative)
            top, inside, _ = relative.partition("/")
            is_link = relative in linked
            outside = is_link and leads_out(folder, relative)
            return Listed(
                id,
                f"{shown}{id}",
                f"{folder}/{relative}",
                None if below is None or outside else f"{below}{relative}",
                labels.get(top) if inside else None,
                LEADS_OUT if outside and not request.follow_links else None,
            )

        return describe


def passed_over_notes(listing: Listing) -> list[str]:
    """One sentence about what of a folder is not taken, if anything."""
    passed_over = listing.passed_over
    if not passed_over:
        return []
    hint = "; --follow-links takes linked folders too" if passed_over.get("linked_folders") else ""
    if passed_over.keys() - KINDS:
        hint += "; --strict has each image of such a format be an error"
    return [f"Passed over: {describe_passed_over(passed_over, listing.other_files)}{hint}."]


def labels_of(subfolders: Iterable[str], labels: Sequence[str]) -> dict[str, str]:
    """The label that each subfolder is called like, of those that are called like one."""
    classes = Classes(labels)
    return {name: labels[classes[name]] for name in subfolders if name in classes}


class FilesSource:
    """Image files named one by one."""

    dataset = None

    def __init__(self, paths: list[Path]) -> None:
        self.description = printable(list_briefly([str(path) for path in paths], most=3))
        self._paths = paths
        for path in paths:
            if path.is_dir():
                raise SourceError(f"{path} is a folder: submit it alone, or only image files.")
            if not path.is_file():
                raise SourceError(f"There is no file {path}.")
        if repeated := first_repeated(lambda: (printable(str(path)) for path in paths)):
            raise SourceError(f"{repeated[0]} is named twice: name each file once.")

    def prepare(self, draft: JobDraft, request: Request) -> Prepared:
        """Pack the images, in the order given."""

        def describe(path: Path) -> Listed:
            return Listed(
                id=printable(str(path)),
                path=printable(str(path)),
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
