"""Reads a whole job again and tells everything that is wrong with it."""

from collections.abc import Generator, Iterator

from console.counts import counted
from imaging.errors import ImageError
from producer.results.records import (
    ERRORS_FILE,
    PREDICTIONS_FILE,
    PredictionsWriter,
    read_identities,
)
from producer.sources.array_sources import array_fingerprint
from producer.sources.packing import Fingerprint, identities
from storage.errors import Corrupt, StorageError
from storage.files import sha256_of
from storage.jobs.job import Job
from storage.jobs.stored_job import StoredJob
from storage.models.store import ModelStore


def find_faults(stored: StoredJob, models: ModelStore, *, max_bytes: int) -> Iterator[str]:
    """One sentence per fault: model, inputs, results and merged records, in this order.

    A job that has not finished is judged by what there is of it.
    """
    yield from model_faults(models, stored.job)
    inputs = array_faults(stored) if stored.job.array else file_faults(stored, max_bytes)
    readable = yield from told("inputs", inputs)
    sound = yield from told("results", result_faults(stored))
    if readable and sound and (stored.folder / PREDICTIONS_FILE).exists():
        yield from told("records", merge_faults(stored))


def told(what: str, faults: Iterator[str]) -> Generator[str, None, bool]:
    """Pass faults on, a failing search among them; returns whether there were none."""
    count = 0
    try:
        for fault in faults:
            count += 1
            yield fault
    except (StorageError, OSError, ValueError) as error:
        count += 1
        yield f"The {what} cannot be read: {error}"
    return count == 0


def model_faults(models: ModelStore, job: Job) -> Iterator[str]:
    """Whether the pinned model version is there and the same."""
    try:
        models.pinned(job.model)
    except StorageError as error:
        yield str(error)


def array_faults(stored: StoredJob) -> Iterator[str]:
    """Whether the arrays are those that were submitted."""
    job = stored.job
    inputs = job.array
    assert inputs
    images = stored.inputs.open_array()
    labels = stored.inputs.open_labels()
    for name, rows in (("images", images), ("labels", labels)):
        if rows is not None and len(rows) < job.total:
            yield f"There are {len(rows):,} {name}, but the job has {counted(job.total, 'image')}."
    referenced = f"{inputs.images} {inputs.size} {inputs.mtime_ns}", ""
    if array_fingerprint(referenced, job.total) == job.fingerprint:
        return  # size and time are all that was recorded, and `open_array` has compared them
    digests = [
        sha256_of(stored.root / inputs.images),
        sha256_of(stored.root / inputs.labels) if inputs.labels else "",
    ]
    if inputs.ids:
        digests.append(sha256_of(stored.root / inputs.ids))
    if array_fingerprint(digests, job.total) != job.fingerprint:
        yield "The images, labels or ids are not those that were submitted: their digest differs."


def file_faults(stored: StoredJob, max_bytes: int) -> Iterator[str]:
    """Whether every image file is there, and the one that was submitted."""
    job, fingerprint = stored.job, Fingerprint()
    folders: dict[str, str] = {}
    for batch in range(job.batches):
        files = stored.inputs.read_pack(batch)
        if len(files) != len(job.span(batch)):
            images = counted(len(files), "image")
            yield f"Batch {batch} has {images} instead of {len(job.span(batch))}."
        fingerprint.add(identities(files, job.labels))
        for position, id in enumerate(files.ids):
            if files.refused[position] is not None:
                continue
            try:
                files.read(position, stored.root, max_bytes=max_bytes, folders=folders)
            except ImageError as error:
                yield f"Image {id} of batch {batch}: {str(error).rstrip('.')}."
    if fingerprint.hexdigest() != job.fingerprint:
        yield "The images or labels are not those that were submitted: their digest differs."


def result_faults(stored: StoredJob) -> Iterator[str]:
    """Whether every result there is can be read, makes sense and is the only outcome."""
    for batch in sorted(stored.results.done()):
        try:
            result = stored.results.read(batch)
        except Corrupt as error:
            yield str(error)
        else:
            if not ((result.scores >= 0) & (result.scores <= 1.0001)).all():
                path = stored.results.path(batch)
                yield f"The result {path} has scores that are no probabilities."
    for path in stored.results.strays():
        yield f"The file {path} is the result of no batch."
    yield from filter(None, stored.results.conflicts().values())


def merge_faults(stored: StoredJob) -> Iterator[str]:
    """Whether the merged files are what the results give when they are merged anew."""
    job, folder = stored.job, stored.folder
    missing = set(range(job.batches)) - stored.results.done()
    if missing:
        batches = counted(len(missing), "batch has", "batches have")
        yield f"{PREDICTIONS_FILE} is there, but {batches} no result."
        return
    with PredictionsWriter(folder) as writer:
        for batch in range(job.batches):
            who = read_identities(stored, batch)
            writer.write(job, batch, who, stored.results.read(batch))
        for fresh, name in zip(writer.close(), (PREDICTIONS_FILE, ERRORS_FILE), strict=True):
            kept = folder / name
            if not kept.exists():
                yield f"{kept} is missing."
            elif sha256_of(kept) != sha256_of(fresh):
                yield f"{kept} is not what the results give: remove it to have it merged anew."
