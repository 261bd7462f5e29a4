"""Takes in the true labels that people found for images of a job."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from producer.errors import SourceError, UnknownLabel
from producer.results.records import read_identities
from producer.sources.array_labels import unknown_hint
from producer.sources.source import list_briefly
from storage.class_names import Classes, canonical
from storage.errors import BadManifest
from storage.jobs.corrections import add_corrections
from storage.jobs.job import Job
from storage.jobs.stored_job import StoredJob
from storage.manifests.table_reader import SUFFIXES, Table, shorten

SAMPLE = {"id": "17", "label": "3"}


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """What came of a file of labels, in images."""

    total: int
    new: int
    changed: int
    """Had another label from an earlier file."""
    empty: int
    """Lines that name an image and no label."""
    notes: tuple[str, ...]
    """What the user should know of how the file was read, one sentence each."""


@dataclass(frozen=True, kw_only=True)
class Given:
    line: int
    label: int


def label_job(stored: StoredJob, path: Path) -> Labelling:
    """Keep the labels of `path` with the job: a table with `id` and `label`, see `rows`.

    A line without a label says nothing: the records of `producer results` can be filled in.
    Raises `BadManifest` or `UnknownLabel`, naming the line, before anything is written.
    """
    job = stored.job
    if path.suffix.lower() not in SUFFIXES:
        raise SourceError(f"{path} must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}.")
    table = Table(path, SAMPLE)
    given, empty = read_labels(table, job)
    if not given:
        raise BadManifest(f"{path} gives no image a label: fill in its column `label`.")
    positions = find_images(stored, given, path)
    labels = np.fromiter((one.label for one in given.values()), np.int32, len(given))
    new, changed = add_corrections(stored, positions, labels)
    return Labelling(
        total=len(given),
        new=new,
        changed=changed,
        empty=empty,
        notes=tuple(table.notes),
    )


def read_labels(table: Table, job: Job) -> tuple[dict[str, Given], int]:
    """The labels of a file by the id of the image, and how many lines have none."""
    classes = Classes(job.labels)
    given: dict[str, Given] = {}
    empty = 0
    for line, fields, _ in table:
        where = table.where(line)
        image, label = fields["id"], fields["label"]
        if not image:
            raise BadManifest(f"{where} has no id: every line must name an image of job {job.id}.")
        if not canonical(label):
            empty += 1
            continue
        position = classes.get(label)
        if position is None:
            raise UnknownLabel(
                f"{where} has the label {shorten(label)!r}, which {job.model} does not know: it "
                f"knows {list_briefly(list(job.labels))}{unknown_hint([label], classes)}."
            )
        if image in given:
            raise BadManifest(
                f"{where} names the image {image!r} again, after line {given[image].line}: give "
                "each image one label."
            )
        given[image] = Given(line=line, label=position)
    return given, empty


def find_images(stored: StoredJob, given: dict[str, Given], path: Path) -> NDArray[np.int64]:
    """Positions in the job (K,) of the images that were given labels, in the order of the file."""
    job = stored.job
    if job.array and job.array.ids is None:
        places = {image: int(image) for image in given if is_position(image, job.total)}
        hint = f"its images are 0 to {job.total - 1}"
    else:
        places = find_ids(stored, given, path)
        hint = f"`producer results {job.id}` lists them"
    if unknown := [image for image in given if image not in places]:
        raise BadManifest(
            f"Line {given[unknown[0]].line} of {path} names the image {unknown[0]!r}, which job "
            f"{job.id} does not have: {hint}."
        )
    return np.fromiter((places[image] for image in given), np.int64, len(given))


def find_ids(stored: StoredJob, given: dict[str, Given], path: Path) -> dict[str, int]:
    """Position by id, of those that occur in a job whose images have ids of their own."""
    job = stored.job
    places: dict[str, int] = {}
    for batch in range(job.batches):
        first = job.span(batch).start
        for offset, image in enumerate(read_identities(stored, batch).ids.to_pylist()):
            if image in given:
                if image in places:
                    raise BadManifest(
                        f"Line {given[image].line} of {path} names the image {image!r}, but two "
                        f"images of job {job.id} have this id: submit them with ids of their own."
                    )
                places[image] = first + offset
    return places


def is_position(image: str, total: int) -> bool:
    """Whether an id is the position of one of `total` images, written as the records write it."""
    return image.isdecimal() and len(image) < 10 and str(int(image)) == image and int(image) < total
