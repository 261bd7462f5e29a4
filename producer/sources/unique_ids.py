"""Whether ids are unique, told with eight bytes an id."""

from collections.abc import Callable, Iterable
from itertools import count

import numpy as np


def first_repeated(read: Callable[[], Iterable[str]]) -> tuple[str, int, int] | None:
    """The first id that comes a second time, and both of its positions; none when all differ.

    `read` gives the ids anew with each call. They are read once, and once more when some seem to
    be equal: only then are those kept.
    """
    hashes = np.fromiter(map(hash, read()), np.int64)
    hashes.sort()
    repeated = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    if not repeated:
        return None
    seen: dict[str, int] = {}
    for position, id in zip(count(), read(), strict=False):
        if hash(id) in repeated and seen.setdefault(id, position) != position:
            return id, seen[id], position
    return None  # different ids of one hash
