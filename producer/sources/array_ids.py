"""Ids that a user gives to the images of an array."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producer.errors import SourceError
from producer.sources.array_labels import is_missing
from producer.sources.arrays import Reader
from producer.sources.unique_ids import first_repeated


def as_ids(ids: Iterable[object], source: str) -> list[str]:
    """Ids as text that UTF-8 can hold; raises `SourceError` unless each is there and unique."""
    texts = []
    for position, id in enumerate(ids):
        if is_missing(id) or id == "":
            raise SourceError(f"{source} has no id for image {position}: give each image one.")
        texts.append(str(id).encode("utf-8", "replace").decode("utf-8"))
    if repeated := first_repeated(lambda: texts):
        id, first, second = repeated
        raise SourceError(
            f"{source} has the id {id!r} twice, for images {first} and {second}: give each image "
            "an id of its own."
        )
    return texts


def read_ids(reader: Reader, source: str) -> list[str]:
    """The same of an array of whole numbers or text."""
    if reader.dtype.kind not in "iuU" or len(reader.shape) != 1:
        raise SourceError(
            f"The ids in {source} are {reader.dtype} {reader.shape}: use whole numbers or text, "
            "one per image."
        )
    values: list[NDArray[Any]] = list(reader.pieces(reader.shape[0]))
    return as_ids(np.concatenate(values).tolist() if values else [], source)
