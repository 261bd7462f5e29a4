"""Predictions kept for images that come again, by what the model sees of them.

    jobs/.reuse/<version>-<model sha256>/<images>-<digest>.npz

A file is written once and named by the digest of its content, so that a damaged one is known and
ignored, and two workers that write the same do no harm. Losing one costs time, nothing else. They
lie among the jobs, since jobs are what every worker can write.
"""

import io
import os
import re
from collections.abc import Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.ranking import Ranking
from imaging.fingerprints import fingerprints
from imaging.images import Pixels
from storage.errors import Corrupt
from storage.files import share, write_atomically
from storage.jobs.results import DAMAGE, ranking_members, read_ranking
from storage.models.store import ModelPin

VERSION = 1
"""Counts up when the same pixels come to mean something else to a model, or a key another thing."""
MOST_IMAGES = 500_000
"""Small files are merged into files of up to so many images."""
MOST_SMALL_FILES = 64
FILE_NAME = re.compile(r"(\d{1,9})-[0-9a-f]{32}\.npz")

Keys = NDArray[np.uint64]
"""Both halves of each key, (2, N)."""


def keys_of(pixels: Pixels) -> Keys:
    """BLAKE2b-128 of each image of uint8 pixels (N, H, W, C), exactly as a model gets them."""
    return np.ascontiguousarray(fingerprints(pixels).view("<u8").reshape(-1, 2).T)


def places(few: Keys, many: Keys) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where the same keys are in `many` and in `few`; both sorted."""
    at = np.searchsorted(many[0], few[0])
    at[at == many.shape[1]] = 0
    found = np.flatnonzero((many[0][at] == few[0]) & (many[1][at] == few[1]))
    return at[found], found


def distinct(keys: Keys) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where each different key comes first, in the order of the keys, and which one each is."""
    order = np.lexsort(keys[::-1])
    ordered = keys[:, order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    which = np.empty(len(order), np.intp)
    which[order] = np.cumsum(new) - 1
    return order[new], which


@dataclass(frozen=True, kw_only=True)
class Known:
    """What one model has predicted, by key; 24 bytes each where one class is kept."""

    keys: Keys
    """Different ones, sorted."""
    ranking: Ranking
    """The likeliest classes (N, K)."""

    def __len__(self) -> int:
        return len(self.ranking)

    def find(self, keys: Keys) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Which of `keys`, different and sorted ones, are known, and where.

        The fewer keys are looked for among the more. Of keys that share their first half only one
        is found, which makes the other one a miss.
        """
        if len(self) < keys.shape[1]:
            return places(self.keys, keys)
        at, found = places(keys, self.keys)
        return found, at

    def to_bytes(self, model: ModelPin) -> bytes:
        """As an `.npz` archive: the same bytes whoever writes it."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            model=np.array([str(VERSION), model.sha256]),
            keys=self.keys.astype("<u8", copy=False),
            **ranking_members(self.ranking),
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, model: ModelPin, origin: Path) -> "Known":
        """Read what `to_bytes` wrote; raises `Corrupt` for anything else or another model."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as members:
                version, sha256 = (str(part) for part in members["model"])
                known = cls(keys=members["keys"], ranking=read_ranking(members))
        except DAMAGE as error:
            raise Corrupt(f"The reuse file {origin} is damaged ({error}).") from None
        if (version, sha256) != (str(VERSION), model.sha256):
            raise Corrupt(f"The reuse file {origin} is of another model than {model}.")
        count = int(origin.name.partition("-")[0])
        if origin.name != name_of(count, content) or known.keys.shape != (2, len(known)):
            raise Corrupt(f"The reuse file {origin} is damaged (its digest differs).")
        return known


def merged(parts: Sequence[Known]) -> Known:
    """All that several parts know; of two predictions for one key the first is kept."""
    keys = np.concatenate([part.keys for part in parts], axis=1)
    first, _ = distinct(keys)
    return Known(
        keys=keys[:, first],
        ranking=Ranking.joined([part.ranking for part in parts])[first],
    )


@dataclass(frozen=True, kw_only=True)
class ReuseFile:
    """One file, not read yet."""

    folder: Path
    name: str
    images: int
    modified: float
    """By the storage's clock."""

    @property
    def path(self) -> Path:
        """Where it lies. Made when it is needed: files are listed often and read once."""
        return self.folder / self.name


class ReuseStore:
    """The predictions kept below one storage root."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "jobs" / ".reuse"

    def files(self, model: ModelPin, depth: int = 1) -> list[ReuseFile]:
        """What is kept of a model where so many classes are, the newest first."""
        folder = self._path(model, depth)
        found = []
        with (
            suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(folder) as entries,
        ):
            for entry in entries:
                if match := FILE_NAME.fullmatch(entry.name):
                    with suppress(FileNotFoundError):  # merged into another meanwhile
                        found.append(
                            ReuseFile(
                                folder=folder,
                                name=entry.name,
                                images=int(match[1]),
                                modified=entry.stat().st_mtime,
                            )
                        )
        return sorted(found, key=lambda file: (file.modified, file.name), reverse=True)

    def read(self, model: ModelPin, file: ReuseFile) -> Known:
        """The content of a file; raises `Corrupt`, or `OSError` when it cannot be read."""
        return Known.from_bytes(file.path.read_bytes(), model, file.path)

    def add(self, model: ModelPin, known: Known) -> Path:
        """Keep some predictions.

        Not fsynced: a file torn by a power cut is told by its digest and computed again.
        """
        content = known.to_bytes(model)
        folder = self._path(model, known.ranking.depth)
        for part in (folder.parent.parent, folder.parent, folder):
            if not part.is_dir():
                part.mkdir(exist_ok=True)  # the root is not made: it may be away
                share(part, part.parent)
        path = folder / name_of(len(known), content)
        write_atomically(path, content, durable=False)
        return path

    def compact(self, model: ModelPin, depth: int = 1) -> int:
        """Merge small files, when they have become many, into one; returns how many.

        Each is removed only after what it knows lies in the new file, whose name says what is in
        it: two workers that compact at once merely do some work twice.
        """
        most = at_depth(MOST_IMAGES, depth)
        small = [file for file in self.files(model, depth) if file.images < most // 2]
        if len(small) <= MOST_SMALL_FILES:
            return 0
        parts: dict[Path, Known] = {}
        images = 0
        for file in sorted(small, key=lambda file: (file.modified, file.name)):
            images += file.images
            if images > most:
                break
            try:
                parts[file.path] = self.read(model, file)
            except Corrupt:
                file.path.unlink(missing_ok=True)
            except OSError:
                continue  # merged by another worker meanwhile
        if len(parts) < 2:
            return 0
        target = self.add(model, merged([parts[path] for path in sorted(parts)]))
        for path in parts:
            if path != target:
                path.unlink(missing_ok=True)
        return len(parts)

    def prune(self, present: Set[str], moment: float, *, dry_run: bool) -> list[tuple[str, int]]:
        """Remove what was written before `moment` or is of no model in `present` (SHA-256).

        Returns the path below the jobs, and the bytes, for each model that has lost something.
        """
        names = {folder_name(sha256, 1) for sha256 in present}
        pruned = []
        for folder in sorted(self._folder.glob("*")):
            size = 0
            for path in folder.iterdir():
                with suppress(FileNotFoundError):
                    stat = path.stat()
                    if folder.name.partition("-top")[0] not in names or stat.st_mtime < moment:
                        size += stat.st_size
                        if not dry_run:
                            path.unlink()
            if size:
                pruned.append((f"{self._folder.name}/{folder.name}", size))
            if not dry_run:
                with suppress(OSError):
                    folder.rmdir()  # only when it is empty
        return pruned

    def _path(self, model: ModelPin, depth: int) -> Path:
        return self._folder / folder_name(model.sha256, depth)


def folder_name(sha256: str, depth: int) -> str:
    """The folder of a model with this digest, of whose predictions so many classes are kept."""
    return f"{VERSION}-{sha256}" + (f"-top{depth}" if depth > 1 else "")


def at_depth(images: int, depth: int) -> int:
    """How many images take the room that so many take of which one class is kept."""
    return max(1, images * 24 // (16 + 8 * depth))


def name_of(images: int, content: bytes) -> str:
    """The name of a file with this content."""
    return f"{images}-{blake2b(content, digest_size=16).hexdigest()}.npz"
