"""True labels that come in an array, as indices into the model's labels.

Text is the name of a class. A whole number is a name too when the model has a class that is named
by one, else it is a position among the model's classes: that hangs on the model alone. -1, "", None
and NaN mean unlabelled.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producer.errors import SourceError, UnknownLabel
from producer.sources.arrays import NpyWriter, Reader
from producer.sources.source import Request, list_briefly
from storage.class_names import Classes, canonical, whole_number
from storage.jobs.inputs import UNLABELLED
from storage.jobs.store import JobDraft

MOST_DISTINCT_LABELS = 100_000
MISSING_TYPES = ("NoneType", "NAType", "NaTType")
"""What stands for a missing value in Python and in pandas, which is not imported for it."""
MOST_EXACT = 2.0**53
"""Floats hold whole numbers up to this one."""
MISSING = np.iinfo(np.int64).min
"""A missing label among numbers: -1 may be the name of a class."""
KINDS = "use whole numbers or text"


def as_array(labels: Iterable[object]) -> NDArray[Any]:
    """Labels as an array of numbers or of text; missing ones are NaN or ""."""
    if isinstance(labels, np.ma.MaskedArray):
        labels = labels.tolist()
    if isinstance(labels, np.ndarray) and labels.dtype.kind != "O":
        return labels
    values = [None if is_missing(label) else label for label in labels]
    present = [value for value in values if value is not None]
    if all(isinstance(value, str) for value in present):
        return np.array([value or "" for value in values], dtype=np.str_)
    if all(is_number(value) for value in present):
        return np.array([np.nan if value is None else value for value in values])
    kinds = sorted({type(value).__name__ for value in present})
    raise SourceError(
        f"The labels are no list of single values of one kind ({list_briefly(kinds)}): give one "
        "per image, all of them whole numbers or all of them text."
    )


def is_missing(label: object) -> bool:
    """Whether a label is None or NaN, or what pandas has for them."""
    if isinstance(label, float | np.floating):
        return bool(np.isnan(label))
    return type(label).__name__ in MISSING_TYPES


def is_number(label: object) -> bool:
    """Whether a label is a number of Python or NumPy; True and False are none."""
    return isinstance(label, int | float | np.number) and not isinstance(label, bool)


def write_labels(
    labels: Reader, total: int, draft: JobDraft, request: Request, source: str
) -> tuple[int, str, list[str]]:
    """Write labels as indices.

    Returns how many there are, the digest of the file and what the user should know.
    """
    table = label_table(labels, total, source, request)
    writer = NpyWriter(draft.inputs / "labels.npy", np.dtype(np.int32), (total,))
    labelled = 0
    with writer:
        for piece in labels.pieces(total):
            values, inverse = np.unique(plain(piece, source), return_inverse=True)
            indices = np.array([table[v] for v in values.tolist()], dtype=np.int32)[inverse]
            labelled += int((indices != UNLABELLED).sum())
            writer.write(indices)
    return labelled, writer.sha256, notes_on(table, request)


def label_table(labels: Reader, total: int, source: str, request: Request) -> dict[int | str, int]:
    """Which class each value of a labels array means; raises `UnknownLabel` for any it does not."""
    if labels.dtype.kind not in "iufU":
        text = ", as in y.astype(str)" if labels.dtype.kind in "OS" else ""
        raise SourceError(f"The labels in {source} are {labels.dtype}: {KINDS}{text}.")
    distinct: set[int | str] = set()
    for piece in labels.pieces(total):
        distinct.update(np.unique(plain(piece, source)).tolist())
        if len(distinct) > MOST_DISTINCT_LABELS:
            raise SourceError(f"The labels in {source} are all different: they name no classes.")
    classes = Classes(request.labels)
    table: dict[int | str, int] = {}
    unknown: list[int | str] = []
    for value in distinct:
        if isinstance(value, int):
            position, missing = classes.of_number(value), value in (UNLABELLED, MISSING)
        else:
            position, missing = classes.get(value), not canonical(value)
        table[value] = UNLABELLED if position is None else position
        if position is None and not missing:
            unknown.append(value)
    if unknown:
        raise UnknownLabel(unknown_labels(source, unknown, request))
    return table


def plain(labels: NDArray[Any], source: str) -> NDArray[Any]:
    """Labels (N,) as integers or text: whole floats, as pandas has them, are integers."""
    labels = labels.reshape(-1)
    if labels.dtype.kind == "f":
        missing = np.isnan(labels)
        given = labels[~missing]
        if (abs(given) < MOST_EXACT).all() and (given == np.rint(given)).all():
            whole = np.full(labels.shape, MISSING)
            whole[~missing] = given
            return whole
        raise SourceError(f"The labels in {source} are no whole numbers: {KINDS}.")
    return labels


def notes_on(table: Mapping[int | str, int], request: Request) -> list[str]:
    """What whole numbers among the labels were taken for, where that can be mistaken."""
    numbers = sorted(v for v, i in table.items() if isinstance(v, int) and i != UNLABELLED)
    classes = Classes(request.labels)
    if not numbers or all(classes.get(str(i)) == i for i in range(len(classes))):
        return []
    meanings = list_briefly([f"{v} is `{request.labels[table[v]]}`" for v in numbers], most=3)
    kind = "names of classes" if classes.numbered else "positions among the classes"
    return [
        f"Whole numbers in the labels are taken as {kind} of {request.model} ({meanings}): give "
        "names as text for anything else."
    ]


def unknown_labels(source: str, unknown: Sequence[int | str], request: Request) -> str:
    """The sentence for labels that the model does not have."""
    return (
        f"{source} has labels that {request.model} does not know "
        f"({list_briefly(sorted(map(str, unknown)))}): it knows "
        f"{list_briefly(list(request.labels))}{unknown_hint(unknown, Classes(request.labels))}."
    )


def unknown_hint(unknown: Sequence[int | str], classes: Classes) -> str:
    """What to say to those who may have taken a position for a name."""
    if classes.numbered and any(isinstance(v, int) and 0 <= v < len(classes) for v in unknown):
        return "; whole numbers are names here, so give names for positions, np.array(names)[y]"
    if not classes.numbered and all(
        isinstance(value, str) and whole_number(value) is not None for value in unknown
    ):
        return "; text is a name, never a position"
    return ""
