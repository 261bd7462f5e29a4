"""A table of image files with their classes, and perhaps their splits."""

import logging
from pathlib import Path

from storage.class_names import canonical
from storage.errors import BadManifest
from storage.manifests.image_finder import find_image
from storage.manifests.table_reader import SUFFIXES, Row, Table, shorten
from storage.split_names import split_called
from trainer.datasets.class_folders import ClassFiles, settle_validation
from trainer.errors import SourceError

SAMPLE = {"path": "a.jpg", "label": "cat"}

log = logging.getLogger(__name__)


def read_manifest(path: Path) -> dict[str, ClassFiles]:
    """The images of each class in `train`, and in `test` if the table has a column `split`.

    Raises `SourceError` or `BadManifest`, naming the first line that cannot be used.
    """
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        raise SourceError(f"{path} is no table of images: name a {', '.join(SUFFIXES)} file.")
    table = Table(path, SAMPLE, (*SAMPLE, "split"))
    found: dict[str, ClassFiles] = {}
    known: dict[Path, tuple[str, str]] = {}
    for row in table:
        where, written = table.where(row.line), row.fields["path"]
        if not written:
            raise BadManifest(f"{where} has no path: every line must name an image file.")
        file = find_image(written, path.parent, where, table.note)
        split, label = place = split_of(row, where), label_of(row, where)
        if file not in known:
            found.setdefault(split, {}).setdefault(label, []).append(file)
        elif known[file] != place:
            raise BadManifest(
                f"{where} names {shorten(written)!r} as {label} ({split}), and an earlier line as "
                f"{' ('.join(reversed(known[file]))}): keep one."
            )
        known[file] = place
    for note in table.notes:
        log.info("%s", note)
    if "train" not in found:
        raise SourceError(f"{path} names no image to train on.")
    return settle_validation(found, {split: f"the split {split}" for split in found})


def label_of(row: Row, where: str) -> str:
    """The class that a line names."""
    label = canonical(row.fields["label"])
    if not label:
        raise BadManifest(f"{where} has no label: every line must name a class.")
    return label


def split_of(row: Row, where: str) -> str:
    """The split that a line names; `train` if none."""
    named = row.fields["split"]
    split = split_called(named) if named else "train"
    if split is None:
        raise BadManifest(
            f"{where} has the split {shorten(named)!r}: write train, test or validation."
        )
    return split
