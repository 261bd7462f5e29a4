"""Takes over the predictions of images that the same model has classified before."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from evaluation.ranking import Ranking
from imaging.images import Pixels
from storage.errors import Corrupt, StorageError
from storage.jobs.reuse import (
    Keys,
    Known,
    ReuseFile,
    ReuseStore,
    at_depth,
    distinct,
    keys_of,
)
from storage.models.store import ModelPin
from worker.batches.phases import Phases
from worker.batches.progress import Progress

log = logging.getLogger(__name__)

KEPT_MODELS = 2

Classify = Callable[[Pixels], Iterator[Ranking]]
"""From pixels (N, H, W, C) to the likeliest classes of each, some at a time, in order."""


class Memory:
    """What a process knows of one model to some depth: the files on storage, each read once."""

    def __init__(self, store: ReuseStore, model: ModelPin, depth: int, limit: int) -> None:
        self._store = store
        self._model = model
        self._depth = depth
        self._limit = at_depth(limit, depth)
        self._parts: dict[ReuseFile, Known | None] = {}

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts.values() if part is not None)

    def refresh(self) -> None:
        """Read the files that have come, and forget those gone or beyond the limit, the oldest."""
        parts: dict[ReuseFile, Known | None] = {}
        room = self._limit
        for file in self._store.files(self._model, self._depth):
            room -= file.images
            if room < 0:
                break
            # By name and time: a damaged file may have been written again.
            parts[file] = self._parts[file] if file in self._parts else self._read(file)
        self._parts = parts

    def _read(self, file: ReuseFile) -> Known | None:
        try:
            return self._store.read(self._model, file)
        except Corrupt as error:
            log.warning("%s It is not used.", error)
        except OSError as error:
            log.info("The reuse file %s was not read: %s", file.path, error.strerror)
        return None

    def find(self, keys: Keys) -> tuple[NDArray[np.bool_], Ranking]:
        """Which of N keys are known (N,), and the ranking, which the others fail in."""
        known = np.zeros(keys.shape[1], np.bool_)
        ranking = Ranking.failed(keys.shape[1], self._depth)
        for part in self._parts.values():
            if part is not None:
                found, at = part.find(keys)
                known[found] = True
                ranking[found] = part.ranking[at]
        return known, ranking


class Reuse:
    """Classifies only what no worker has classified before."""

    def __init__(self, store: ReuseStore, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._memories: OrderedDict[tuple[ModelPin, int], Memory] = OrderedDict()

    def classify(
        self,
        model: ModelPin,
        depth: int,
        pixels: Pixels,
        classify: Classify,
        phases: Phases,
        progress: Progress,
    ) -> tuple[Ranking, int]:
        """The `depth` likeliest classes of N images, and how many of these were not computed.

        Those are the ones known from another batch and those that are the same as another image
        of this batch. The others are computed in their order, and kept every few seconds.
        """
        with phases("reuse"):
            keys = keys_of(pixels)
            first, which = distinct(keys)
            keys = keys[:, first]
            memory = self._memory(model, depth)
            memory.refresh()
            known, ranking = memory.find(keys)
            new = np.flatnonzero(~known)
            new = new[np.argsort(first[new])]
        wanted, kept, done = first[new], 0, 0
        parts = classify(pixels if len(wanted) == len(pixels) else pixels[wanted])
        while done < new.size:
            with phases("predict"):
                part = next(parts)
                ranking[new[done : done + len(part)]] = part
            done += len(part)
            is_time = progress.classified(len(pixels) - (new.size - done))
            if is_time or done == new.size:
                with phases("reuse"):
                    at = np.sort(new[kept:done])  # keys are kept in their order
                    at = np.delete(at, ranking[at].failures())
                    if at.size:
                        self._keep(model, Known(keys=keys[:, at], ranking=ranking[at]))
                kept = done
        return ranking[which], len(pixels) - new.size

    def _keep(self, model: ModelPin, known: Known) -> None:
        """A full disk costs the next job its time, not this one its result."""
        try:
            self._store.add(model, known)
            self._store.compact(model, known.ranking.depth)
        except (OSError, StorageError) as error:
            log.warning("Predictions of %s are not kept for reuse: %s", model, error)

    def _memory(self, model: ModelPin, depth: int) -> Memory:
        wanted = model, depth
        if wanted not in self._memories:
            self._memories[wanted] = Memory(self._store, model, depth, self._limit)
        self._memories.move_to_end(wanted)
        if len(self._memories) > KEPT_MODELS:
            self._memories.popitem(last=False)
        return self._memories[wanted]
