"""Packs listed image files into a job, batch by batch, on all cores.

Small files and those outside storage are read. Of the others a size and a time of change are
enough: a worker can begin before anybody has read a folder. A file that cannot be read or is too
large is kept with that reason, for its error record: one bad file refuses no job. At most a few
batches are in memory, however many files there are.

Of small files every step counts. Each is opened once, whoever lists them names them in as few words
as possible, and the process that reads them makes the rest of these.
"""

import gc
import hashlib
import io
import json
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import connection, get_context, parent_process
from typing import Any, Generic, NamedTuple, TypeVar

from imaging.decoding.frames import describe_several, holds_several, may_hold_several
from imaging.errors import ImageError, file_too_large
from producer.errors import EmptySource
from producer.sources.source import BATCHES_OF_A_SMALL_JOB, Prepared, Request
from storage.class_names import Classes
from storage.files import FileStamp
from storage.jobs.inputs import UNLABELLED, FileInputs, ImageFiles
from storage.jobs.store import JobDraft

Name = TypeVar("Name")
"""What a source calls a file until it is described."""
PackAll = Callable[[Iterable[tuple[int, Sequence[Name]]]], Iterator["Packed"]]

SMALL_FILE_BYTES = 4_096
"""Files of up to this size are packed even when they lie on storage: opening one again, in the
worker, costs at least as much as copying it."""
JPEG = (".jpg", ".jpeg")
"""What most photographs are called, and no file of several pictures."""
PACK_BYTES = 64_000_000
"""Batches of large files are made shorter than this, judged by the first ones: producer and worker
hold one batch in memory."""
SAMPLED_FILES = 200


class Listed(NamedTuple):
    """One image file of a source, not read yet."""

    id: str
    path: str
    """The path as the user would name it."""
    file: str
    stored: str | None
    """The path relative to the storage root, when the file lies there: it is not copied then,
    unless it is small."""
    label: str | None = None
    refused: str | None = None
    """Why it must not be read."""
    others: tuple[str, ...] = ()
    """What the user's own columns say of it."""


class Packed(NamedTuple):
    """What is left to know of a batch that is packed."""

    images: int
    labelled: int
    several: int
    """How many files have more pictures than the one that counts."""
    identities: "Identities"
    """For the job's `Fingerprint`."""


@dataclass(frozen=True)
class Packer(Generic[Name]):
    """Packs single batches into one draft."""

    draft: JobDraft
    request: Request
    describe: Callable[[Name], Listed]
    others: Sequence[str] = ()
    """Names of the columns of a user's own."""

    def __call__(self, batch: int, group: Sequence[Name]) -> Packed:
        """Read the files of one batch and write its pack."""
        files, several = read_files(map(self.describe, group), self.request, self.others)
        self.draft.add_pack(batch, files)
        return Packed(
            images=len(files),
            labelled=len(files) - files.labels.count(UNLABELLED),
            several=several,
            identities=identities(files, self.request.labels),
        )


def pack_images(
    names: Iterable[Name],
    describe: Callable[[Name], Listed],
    draft: JobDraft,
    request: Request,
    source: str,
    notes: Iterable[str] = (),
    *,
    others: Sequence[str] = (),
) -> Prepared:
    """Read the files and pack them in order; `describe` is called where they are read."""
    rest = islice(names, request.limit)
    # A job that ends within these is small, and its size is known without listing it twice.
    sample = BATCHES_OF_A_SMALL_JOB * request.file_batch_size
    first = list(islice(rest, sample))
    if not first:
        raise EmptySource(f"{source} holds no images: there is nothing to classify.")
    mean = mean_size([describe(name).file for name in first[:SAMPLED_FILES]])
    most = min(request.file_batch_size, max(1, PACK_BYTES // max(1, mean)))
    batch_size = request.batch_size_for(len(first), most)
    fingerprint = Fingerprint()
    total = labelled = several = 0
    batches = enumerate(grouped(chain(first, rest), batch_size))
    with packers(Packer(draft, request, describe, others), small=len(first) < sample) as pack:
        for packed in pack(batches):
            fingerprint.add(packed.identities)
            labelled += packed.labelled
            several += packed.several
            total += packed.images
    return Prepared(
        total=total,
        labelled=labelled,
        batch_size=batch_size,
        inputs=FileInputs(),
        fingerprint=fingerprint.hexdigest(),
        notes=(*notes, *filter(None, [describe_several(several)])),
    )


@contextmanager
def packers(packer: Packer[Name], *, small: bool) -> Iterator[PackAll[Name]]:
    """A function that packs numbered batches and yields what came of each, in order.

    A process per core does it, unless the job is small or this process has threads: those would be
    missing in a fork, with whatever locks they hold.
    """
    processes = len(os.sched_getaffinity(0))
    if small or processes == 1 or threading.active_count() > 1:
        yield lambda batches: (packer(batch, group) for batch, group in batches)
        return

    import pyarrow as pa

    pa.array([])  # all that Arrow imports for its first array, once and not in every process
    pool = ProcessPoolExecutor(
        processes, get_context("fork"), initializer=prepare_child, initargs=(packer,)
    )

    def pack(batches: Iterable[tuple[int, Sequence[Name]]]) -> Iterator[Packed]:
        running: deque[Future[Packed]] = deque()
        for batch, group in batches:
            running.append(pool.submit(pack_in_child, batch, group))
            if len(running) > 2 * processes:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()

    try:
        yield pack
    finally:
        pool.shutdown(cancel_futures=True)


def prepare_child(packer: Packer[Any]) -> None:
    """Keep the packer for `pack_in_child`; leave Ctrl-C to the parent, and go when it goes."""
    global child_packer
    child_packer = packer
    gc.freeze()  # collecting what came with the fork would copy it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def follow_parent() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()


child_packer: Packer[Any]


def pack_in_child(batch: int, group: Sequence[Any]) -> Packed:
    """Pack one batch in a process of the pool."""
    return child_packer(batch, group)


def mean_size(files: Sequence[str]) -> int:
    """Bytes of a file in the mean; one that cannot be seen has none."""
    total = 0
    for file in files:
        with suppress(OSError):
            total += os.stat(file).st_size  # noqa: PTH116
    return total // len(files)


def read_files(
    listed: Iterable[Listed], request: Request, others: Sequence[str] = ()
) -> tuple[ImageFiles, int]:
    """Read the files of one batch, to be packed, or to be referenced when they lie on storage.

    Tells as well how many of them hold several pictures.
    """
    position = Classes(request.labels)
    files = ImageFiles.empty()
    files.others.update((name, []) for name in others)
    several = 0
    for id, path, file, stored, label, refused, own in listed:
        taken = Taken()
        if refused is None:
            try:
                taken = take(file, request.max_image_bytes, on_storage=stored is not None)
            except ImageError as error:
                refused = str(error)
        several += taken.several
        decisive = (refused or "").encode() if taken.content is None else taken.content
        files.ids.append(id)
        files.paths.append(path)
        files.labels.append(UNLABELLED if label is None else position[label])
        files.digests.append(None if taken.stamp else hashlib.sha256(decisive).digest())
        files.contents.append(taken.content)
        files.stored.append(stored if taken.stamp else None)
        files.stamps.append(taken.stamp)
        files.refused.append(refused)
        for name, text in zip(others, own, strict=True):
            files.others[name].append(text)
    return files, several


class Taken(NamedTuple):
    """What a job keeps of a file: its bytes, or the stamp of a large one that lies on storage."""

    content: bytes | None = None
    stamp: FileStamp | None = None
    several: bool = False
    """Whether it holds more pictures than the one that counts."""


def take(file: str, limit: int, *, on_storage: bool) -> Taken:
    """Read of a file what the job needs; raises `ImageError` if that cannot be done.

    One of more than `limit` bytes is refused. Of a large one on storage the head says whether it
    may hold several pictures, and only then the rest is read; no head is asked of a JPEG.
    """
    stamp = None
    try:
        if on_storage and file.lower().endswith(JPEG):
            status = os.stat(file)  # noqa: PTH116
            if SMALL_FILE_BYTES < status.st_size <= limit:
                return Taken(stamp=FileStamp.of(status))
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = os.read(descriptor, SMALL_FILE_BYTES)
            if more := os.read(descriptor, 1):  # a large one
                status = os.fstat(descriptor)
                if status.st_size > limit:
                    raise file_too_large(limit)
                if on_storage:
                    stamp = FileStamp.of(status)
                    if not may_hold_several(content):
                        return Taken(stamp=stamp)
                with io.FileIO(descriptor, closefd=False) as rest:
                    content += more + rest.readall()
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ImageError(f"file cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise file_too_large(limit)
    return Taken(None if stamp else content, stamp, holds_several(content))


class Identities(NamedTuple):
    """What tells the images of a job from others, field by field."""

    ids: bytes
    paths: bytes
    labels: bytes
    digests: bytes


class Fingerprint:
    """Digest over the images of a job: who they are, what they show, their order and labels.

    The fields are digested each for themselves, so that it does not matter how images are grouped.
    """

    def __init__(self) -> None:
        self._fields = [hashlib.sha256() for _ in Identities._fields]

    def add(self, more: Identities) -> None:
        """Take in the `identities` of the next images, in groups of any size."""
        for digest, field in zip(self._fields, more, strict=True):
            digest.update(field)

    def hexdigest(self) -> str:
        """64 hexadecimal digits."""
        fields = b"".join(digest.digest() for digest in self._fields)
        return hashlib.sha256(b"files" + fields).hexdigest()


def identities(files: ImageFiles, labels: Sequence[str]) -> Identities:
    """Ids, paths and labels as JSON with a comma after each, and digests of what they show."""
    names = ["" if label == UNLABELLED else labels[label] for label in files.labels]
    return Identities(
        ids=listed_json(files.ids),
        paths=listed_json(files.paths),
        labels=listed_json(names),
        digests=b"".join(map(digest_of, files.digests, files.stamps)),
    )


def digest_of(sha256: bytes | None, stamp: FileStamp | None) -> bytes:
    """The digest of a file's bytes, or of its stamp where nobody has read them."""
    return sha256 or hashlib.sha256(repr(stamp).encode()).digest()


def listed_json(texts: Sequence[str]) -> bytes:
    """Texts so that no two lists of them look the same."""
    return json.dumps(texts, separators=(",", ":"))[1:-1].encode() + b","


def grouped(items: Iterable[Name], size: int) -> Iterator[list[Name]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group
