"""Reads a whole job again and tells everything that is wrong with it."""

from collections.abc import Generator, Iterator

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
from storage.jobs.inputs import read_pack
from storage.jobs.store import Job, JobStore
from storage.models.store import ModelStore


def find_faults(store: JobStore, models: ModelStore, job: Job, *, max_bytes: int) -> Iterator[str]:
    """One sentence per fault: model, inputs, results and merged records, in this order.

    A job that has not finished is judged by what there is of it.
    """
    yield from model_faults(models, job)
    inputs = array_faults(store, job) if job.array else file_faults(store, job, max_bytes)
    readable = yield from told("inputs", inputs)
    sound = yield from told("results", result_faults(store, job))
    if readable and sound and (store.path(job.id) / PREDICTIONS_FILE).exists():
        yield from told("records", merge_faults(store, job))


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


def array_faults(store: JobStore, job: Job) -> Iterator[str]:
    """Whether the arrays are those that were submitted."""
    inputs = job.array
    assert inputs
    images = store.open_array(job)
    labels = store.open_labels(job)
    for name, rows in (("images", images), ("labels", labels)):
        if rows is not None and len(rows) < job.total:
            yield f"There are {len(rows)} {name}, but the job has {job.total} images."
    referenced = f"{inputs.images} {inputs.size} {inputs.mtime_ns}", ""
    if array_fingerprint(referenced, job.total) == job.fingerprint:
        return  # size and time are all that was recorded, and `open_array` has compared them
    digests = [
        sha256_of(store.root / inputs.images),
        sha256_of(store.root / inputs.labels) if inputs.labels else "",
    ]
    if inputs.ids:
        digests.append(sha256_of(store.root / inputs.ids))
    if array_fingerprint(digests, job.total) != job.fingerprint:
        yield "The images, labels or ids are not those that were submitted: their digest differs."


def file_faults(store: JobStore, job: Job, max_bytes: int) -> Iterator[str]:
    """Whether every image file is there, and the one that was submitted."""
    fingerprint = Fingerprint()
    folders: dict[str, str] = {}
    for batch in range(job.batches):
        files = read_pack(store.pack_path(job, batch))
        if len(files) != len(job.span(batch)):
            yield f"Batch {batch} has {len(files)} images instead of {len(job.span(batch))}."
        fingerprint.add(identities(files, job.labels))
        for position, id in enumerate(files.ids):
            if files.refused[position] is not None:
                continue
            try:
                files.read(position, store.root, max_bytes=max_bytes, folders=folders)
            except ImageError as error:
                yield f"Image {id} of batch {batch}: {str(error).rstrip('.')}."
    if fingerprint.hexdigest() != job.fingerprint:
        yield "The images or labels are not those that were submitted: their digest differs."


def result_faults(store: JobStore, job: Job) -> Iterator[str]:
    """Whether every result there is can be read, makes sense and is the only outcome."""
    folder = store.path(job.id) / "results"
    done = store.done(job)
    known = {store.result_path(job, batch).name for batch in done}
    for batch in sorted(done):
        try:
            result = store.read_result(job, batch)
        except Corrupt as error:
            yield str(error)
        else:
            if not ((result.scores >= 0) & (result.scores <= 1.0001)).all():
                path = store.result_path(job, batch)
                yield f"The result {path} has scores that are no probabilities."
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and path.name not in known:  # being written, or left over
            yield f"The file {path} is the result of no batch."
    yield from filter(None, store.conflicts(job).values())


def merge_faults(store: JobStore, job: Job) -> Iterator[str]:
    """Whether the merged files are what the results give when they are merged anew."""
    folder = store.path(job.id)
    missing = set(range(job.batches)) - store.done(job)
    if missing:
        yield f"{PREDICTIONS_FILE} is there, but {len(missing)} batches have no result."
        return
    with PredictionsWriter(folder) as writer:
        for batch in range(job.batches):
            who = read_identities(store, job, batch)
            writer.write(job, batch, who, store.read_result(job, batch))
        for fresh, name in zip(writer.close(), (PREDICTIONS_FILE, ERRORS_FILE), strict=True):
            kept = folder / name
            if not kept.exists():
                yield f"{kept} is missing."
            elif sha256_of(kept) != sha256_of(fresh):
                yield f"{kept} is not what the results give: remove it to have it merged anew."
