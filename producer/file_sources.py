"""Sources that are image files: folders, manifests and files named one by one.

Each kind only lists its images; `pack_images` reads them, batch by batch. A file that cannot be
read or is too large is kept with that reason, for its error record: one bad file refuses no job.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from producer.errors import BadManifest, EmptySource, SourceError, UnknownLabel
from producer.listing import holds_images, image_files, subfolders
from producer.sources import BATCHES_OF_A_SMALL_JOB, Prepared, Request, list_briefly
from storage.errors import ImageError, UnsafePath
from storage.files import resolve_inside
from storage.inputs import UNLABELLED, FileInputs, ImageFile
from storage.jobs import JobDraft

PACK_BYTES = 64_000_000
"""Batches of large files are made shorter than this, judged by the first ones: producer and worker
hold one batch in memory."""
SAMPLED_FILES = 200


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One image file of a source, not read yet."""

    id: str
    path: str
    """The path as the user would name it."""
    file: str
    """The path to read."""
    stored: str | None
    """The path relative to the storage root, when the file lies there: it is not copied then."""
    label: str | None = None
    refused: str | None = None
    """Why it must not be read."""


class FolderSource:
    """All images below a folder, sorted by path; class subfolders give their labels."""

    dataset = None

    def __init__(self, path: Path) -> None:
        self.description = str(path)
        self._path = path

    def prepare(self, draft: JobDraft, request: Request) -> Prepared:
        """Pack the images. They are labelled when all subfolders with images are labels."""
        names = [n for n in subfolders(self._path) if holds_images(self._path / n)]
        labelled = bool(names) and set(names) <= set(request.labels)
        notes = []
        if names and not labelled:
            strange = [name for name in names if name not in request.labels]
            notes.append(
                f"The images of {self.description} are taken as unlabelled: its subfolders "
                f"({list_briefly(strange)}) are not the labels of {request.model}."
            )
        listed = self._list(labelled, request.root)
        return pack_images(listed, draft, request, self.description, notes)

    def _list(self, labelled: bool, root: Path) -> Iterator[Listed]:
        # Plain strings: with a million files, pathlib would take as long as reading them.
        folder = self._path.resolve()
        stored = stored_path(folder, root)
        for relative, refused in image_files(folder):
            top, _, rest = relative.partition("/")
            yield Listed(
                id=readable(relative),
                path=readable(os.path.join(self._path, relative)),  # noqa: PTH118
                file=f"{folder}/{relative}",
                stored=None if stored is None else f"{stored}/{relative}".removeprefix("./"),
                label=top if labelled and rest else None,
                refused=refused,
            )


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
        listed = (
            Listed(
                id=readable(str(path)),
                path=readable(str(path)),
                file=str(path),
                stored=stored_path(path.resolve(), request.root),
            )
            for path in self._paths
        )
        return pack_images(listed, draft, request, self.description)


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
        read_rows = self._csv_rows if self._path.suffix.lower() == ".csv" else self._json_rows
        listed = (self._listed(line, row, request) for line, row in read_rows())
        try:
            return pack_images(listed, draft, request, self.description)
        except UnicodeDecodeError:
            raise BadManifest(f"{self.description} is not UTF-8 text: save it as such.") from None

    def _csv_rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        with self._path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            try:
                if "path" not in (reader.fieldnames or ()):
                    raise BadManifest(
                        f"{self.description} has no column `path`: name the columns in its first "
                        "line, as in path,label,id."
                    )
                for row in reader:
                    yield reader.line_num, row
            except csv.Error as error:
                raise BadManifest(
                    f"Line {reader.line_num} of {self.description} is not CSV ({error})."
                ) from None

    def _json_rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        with self._path.open(encoding="utf-8-sig") as file:
            for line, text in enumerate(file, 1):
                if not text.strip():
                    continue
                try:
                    row = json.loads(text)
                except ValueError:
                    row = None
                if not isinstance(row, dict):
                    raise BadManifest(
                        f"Line {line} of {self.description} is not a JSON object: write each line "
                        'as {"path": "a.png"}.'
                    )
                yield line, row

    def _listed(self, line: int, row: dict[str, Any], request: Request) -> Listed:
        where = f"Line {line} of {self.description}"
        path, label, name = (self._text(row, key, where) for key in ("path", "label", "id"))
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

    @staticmethod
    def _text(row: dict[str, Any], key: str, where: str) -> str:
        """A field as text, numbers included; "" when it is absent."""
        value = row.get(key)
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise BadManifest(f"{where} has a `{key}` that is neither text nor a whole number.")
        return str(value)


def pack_images(
    listed: Iterable[Listed],
    draft: JobDraft,
    request: Request,
    source: str,
    notes: Iterable[str] = (),
) -> Prepared:
    """Read the files and pack them batch by batch, one batch in memory at a time."""
    files = islice(listed, request.limit)
    # A job that ends within these is small, and its size is known without listing it twice.
    first = list(islice(files, BATCHES_OF_A_SMALL_JOB * request.file_batch_size))
    if not first:
        raise EmptySource(f"{source} holds no images: there is nothing to classify.")
    batch_size = choose_batch_size(first, request)
    position = {label: i for i, label in enumerate(request.labels)}
    fingerprint = Fingerprint(request.labels)
    total = labelled = 0
    for batch, group in enumerate(grouped(chain(first, files), batch_size)):
        images = [read_image(item, position, request) for item in group]
        draft.add_pack(batch, images)
        for image in images:
            fingerprint.add(image)
            labelled += image.label != UNLABELLED
        total += len(images)
    return Prepared(
        total=total,
        labelled=labelled,
        batch_size=batch_size,
        inputs=FileInputs(),
        fingerprint=fingerprint.hexdigest(),
        notes=tuple(notes),
    )


def choose_batch_size(first: list[Listed], request: Request) -> int:
    """Files per batch, so that a batch of files like the first ones stays below `PACK_BYTES`."""
    sizes = [size_of(item.file) for item in first[:SAMPLED_FILES]]
    mean = max(1, sum(sizes) // len(sizes))
    most = min(request.file_batch_size, max(1, PACK_BYTES // mean))
    return request.batch_size_for(len(first), most)


def read_image(item: Listed, position: dict[str, int], request: Request) -> ImageFile:
    """Read one file, to be packed, or to be referenced when it lies on storage."""
    label = UNLABELLED if item.label is None else position[item.label]
    content, refused = b"", item.refused
    if refused is None:
        try:
            content = read_up_to(item.file, request.max_image_bytes)
        except ImageError as error:
            refused = str(error)
    if refused is not None:
        digest = hashlib.sha256(refused.encode()).digest()
        return ImageFile(id=item.id, path=item.path, label=label, sha256=digest, refused=refused)
    return ImageFile(
        id=item.id,
        path=item.path,
        label=label,
        sha256=hashlib.sha256(content).digest(),
        content=content if item.stored is None else None,
        stored=item.stored,
    )


def read_up_to(file: str, limit: int) -> bytes:
    """The bytes of a file; raises `ImageError` when it cannot be read or has more than `limit`."""
    try:
        with io.FileIO(file) as opened:
            if os.fstat(opened.fileno()).st_size > limit:
                raise ImageError(f"file too large: the limit is {limit} bytes")
            return opened.readall()
    except OSError as error:
        raise ImageError(f"file cannot be read: {error.strerror}") from None


def stored_path(resolved: Path, root: Path) -> str | None:
    """A resolved path relative to the storage root; none when it lies elsewhere."""
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else None


def size_of(file: str) -> int:
    """Bytes of a file; 0 when it cannot be seen."""
    try:
        return Path(file).stat().st_size
    except OSError:
        return 0


class Fingerprint:
    """Digest over the images of a job: who they are, what they show, their order and labels."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = labels
        self._digest = hashlib.sha256(b"files")

    def add(self, image: ImageFile) -> None:
        """Take in the next image."""
        label = "" if image.label == UNLABELLED else self._labels[image.label]
        line = json.dumps([image.id, image.path, label, image.sha256.hex()])
        self._digest.update(line.encode() + b"\n")

    def hexdigest(self) -> str:
        """64 hexadecimal digits."""
        return self._digest.hexdigest()


def grouped(items: Iterable[Listed], size: int) -> Iterator[list[Listed]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


def readable(name: str) -> str:
    """A file name as text: bytes that are not UTF-8 are shown as question marks."""
    return os.fsencode(name).decode("utf-8", "replace")
