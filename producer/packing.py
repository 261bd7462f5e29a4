"""Reads listed image files and packs them into a job, batch by batch, on all cores.

A file that cannot be read or is too large is kept with that reason, for its error record: one bad
file refuses no job. At most a few batches are in memory, however many files there are.
"""

import hashlib
import io
import json
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import NamedTuple

from producer.errors import EmptySource
from producer.sources import BATCHES_OF_A_SMALL_JOB, Prepared, Request
from storage.errors import ImageError
from storage.inputs import UNLABELLED, FileInputs, ImageFile
from storage.jobs import JobDraft

PackAll = Callable[[Iterable[tuple[int, Sequence["Listed"]]]], Iterator["Packed"]]

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
    """The path to read."""
    stored: str | None
    """The path relative to the storage root, when the file lies there: it is not copied then."""
    label: str | None = None
    refused: str | None = None
    """Why it must not be read."""


class Packed(NamedTuple):
    """What is left to know of a batch that is packed."""

    images: int
    labelled: int
    identities: bytes
    """For the job's `Fingerprint`."""


@dataclass(frozen=True)
class Packer:
    """Packs single batches into one draft."""

    draft: JobDraft
    request: Request

    def __call__(self, batch: int, group: Sequence[Listed]) -> Packed:
        """Read the files of one batch and write its pack."""
        position = {label: i for i, label in enumerate(self.request.labels)}
        images = [read_image(item, position, self.request.max_image_bytes) for item in group]
        self.draft.add_pack(batch, images)
        return Packed(
            images=len(images),
            labelled=sum(image.label != UNLABELLED for image in images),
            identities=identities(images, self.request.labels),
        )


def pack_images(
    listed: Iterable[Listed],
    draft: JobDraft,
    request: Request,
    source: str,
    notes: Iterable[str] = (),
) -> Prepared:
    """Read the files and pack them in order."""
    files = islice(listed, request.limit)
    # A job that ends within these is small, and its size is known without listing it twice.
    sample = BATCHES_OF_A_SMALL_JOB * request.file_batch_size
    first = list(islice(files, sample))
    if not first:
        raise EmptySource(f"{source} holds no images: there is nothing to classify.")
    batch_size = choose_batch_size(first, request)
    fingerprint = Fingerprint()
    total = labelled = 0
    batches = enumerate(grouped(chain(first, files), batch_size))
    with packers(Packer(draft, request), small=len(first) < sample) as pack:
        for packed in pack(batches):
            fingerprint.add(packed.identities)
            labelled += packed.labelled
            total += packed.images
    return Prepared(
        total=total,
        labelled=labelled,
        batch_size=batch_size,
        inputs=FileInputs(),
        fingerprint=fingerprint.hexdigest(),
        notes=tuple(notes),
    )


@contextmanager
def packers(packer: Packer, *, small: bool) -> Iterator[PackAll]:
    """A function that packs numbered batches and yields what came of each, in order.

    A process per core does it, unless the job is small or this process has threads: those would be
    missing in a fork, with whatever locks they hold.
    """
    processes = len(os.sched_getaffinity(0))
    if small or processes == 1 or threading.active_count() > 1:
        yield lambda batches: (packer(batch, group) for batch, group in batches)
        return

    pool = ProcessPoolExecutor(
        processes, get_context("fork"), initializer=prepare_child, initargs=(packer,)
    )

    def pack(batches: Iterable[tuple[int, Sequence[Listed]]]) -> Iterator[Packed]:
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


def prepare_child(packer: Packer) -> None:
    """Keep the packer for `pack_in_child`; leave Ctrl-C to the parent, and go when it goes."""
    global child_packer
    child_packer = packer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def follow_parent() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()


child_packer: Packer


def pack_in_child(batch: int, group: Sequence[Listed]) -> Packed:
    """Pack one batch in a process of the pool."""
    return child_packer(batch, group)


def choose_batch_size(first: Sequence[Listed], request: Request) -> int:
    """Files per batch, so that a batch of files like the first ones stays below `PACK_BYTES`."""
    sizes = [size_of(item.file) for item in first[:SAMPLED_FILES]]
    mean = max(1, sum(sizes) // len(sizes))
    most = min(request.file_batch_size, max(1, PACK_BYTES // mean))
    return request.batch_size_for(len(first), most)


def read_image(item: Listed, position: dict[str, int], max_bytes: int) -> ImageFile:
    """Read one file, to be packed, or to be referenced when it lies on storage."""
    label = UNLABELLED if item.label is None else position[item.label]
    content, refused = b"", item.refused
    if refused is None:
        try:
            content = read_up_to(item.file, max_bytes)
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


def size_of(file: str) -> int:
    """Bytes of a file; 0 when it cannot be seen."""
    try:
        return Path(file).stat().st_size
    except OSError:
        return 0


class Fingerprint:
    """Digest over the images of a job: who they are, what they show, their order and labels."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256(b"files")

    def add(self, more: bytes) -> None:
        """Take in the `identities` of the next images, in groups of any size."""
        self._digest.update(more)

    def hexdigest(self) -> str:
        """64 hexadecimal digits."""
        return self._digest.hexdigest()


def identities(images: Sequence[ImageFile], labels: Sequence[str]) -> bytes:
    """Id, path, label and digest of each image, as JSON with a comma after each."""
    rows = [
        (i.id, i.path, "" if i.label == UNLABELLED else labels[i.label], i.sha256.hex())
        for i in images
    ]
    return json.dumps(rows, separators=(",", ":"))[1:-1].encode() + b","


def grouped(items: Iterable[Listed], size: int) -> Iterator[list[Listed]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group
