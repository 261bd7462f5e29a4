"""The pages of data sets: all versions, and each with its images per class."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from desk.page import View
from desk.shelves import Shelves
from storage.datasets.store import DataSet
from storage.errors import Corrupt, StorageError
from storage.files import printable

MOST_VERSIONS = 50
MOST_CLASSES = 500


@dataclass(frozen=True, kw_only=True)
class Row:
    """A version in the list, or what is wrong with it."""

    number: int
    dataset: DataSet | None = None
    fault: str = ""


class DataSets(View):
    template = "data.html"

    def look(self, *_: str) -> dict[str, Any]:
        store = self.shelves.datasets
        found = []
        for name in store.names():
            numbers = store.numbers(name)[::-1]
            rows = [row_of(self.shelves, name, number) for number in numbers[:MOST_VERSIONS]]
            found.append((name, rows, max(0, len(numbers) - MOST_VERSIONS)))
        return {"datasets": found, "splits_of": splits_of}


def row_of(shelves: Shelves, name: str, number: int) -> Row:
    try:
        return Row(number=number, dataset=shelves.datasets.version(name, number))
    except StorageError as error:
        return Row(number=number, fault=printable(str(error)))
    except OSError as error:
        return Row(number=number, fault=f"It cannot be read ({error.strerror}).")


def splits_of(dataset: DataSet) -> list[str]:
    """Train first, in an appended version as well."""
    return sorted(dataset.description.splits, reverse=True)


class Data(View):
    template = "dataset.html"

    def look(self, *parts: str) -> dict[str, Any]:
        dataset = self.shelves.datasets.get(f"{parts[0]}@{int(parts[1])}")
        splits = splits_of(dataset)
        counts = [images_per_class(dataset, split) for split in splits]
        classes = dataset.description.classes
        rows = list(zip(classes, zip(*counts, strict=True), strict=True))
        return {
            "dataset": dataset,
            "about": dataset.description,
            "splits": splits,
            "rows": rows[:MOST_CLASSES],
            "hidden": len(rows[MOST_CLASSES:]),
        }


def images_per_class(dataset: DataSet, split: str) -> list[int]:
    """How many images of each class there are in a split; raises `Corrupt`."""
    classes = len(dataset.description.classes)
    try:
        labels = np.asarray(dataset.labels(split))
        counts = np.bincount(labels[labels >= 0], minlength=classes)
    except (ValueError, TypeError, OSError):
        raise Corrupt(f"Data set {dataset} is damaged: labels of {split} cannot be read.") from None
    return [int(count) for count in counts[:classes]]
