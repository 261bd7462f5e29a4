"""Which columns of a table, or arrays of an archive, hold paths, labels and ids."""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass

from storage.class_names import canonical
from storage.errors import BadManifest

SYNONYMS = {
    "path": ("file", "filename", "file_name", "filepath", "file_path", "image"),
    "label": ("labels", "class"),
    "id": ("ids",),
    "split": ("subset", "partition"),
}
"""What else a column may be called; its own name wins over these."""
OF_RECORDS = re.compile(
    r"path|label|id|(prediction|score)(_\d+)?|model|batch|error|probabilities", re.IGNORECASE
)
"""The columns of `producer results`, which may well be left in a file."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Where the fields are among the names."""

    places: dict[str, int]
    """Place of each field that was found, by its own name."""
    others: dict[str, int]
    """Place of each column that means nothing here, by its name in the table."""
    notes: tuple[str, ...]
    """What the user should know of that, as clauses."""


def is_reserved(name: str) -> bool:
    """Whether a column of this name is one of the records'."""
    return OF_RECORDS.fullmatch(name) is not None


def probability_column(label: str) -> str:
    """The column of CSV that holds the probability of a class."""
    return f"p_{label}"


def fold(name: str) -> str:
    """A column's name as it is compared: in any case, with blanks around it or for its `_`."""
    return canonical(name).casefold().replace(" ", "_")


def find_columns(
    names: Sequence[str],
    fields: Sequence[str],
    where: str,
    *,
    kept: bool = False,
    reserved: Container[str] = (),
) -> Columns:
    """Find fields among the names of columns; raises `BadManifest` for one that is there twice.

    `kept` is whether the other columns are passed on to records, which their note then says.
    `reserved` is what these have besides their usual columns.
    """
    folded = [fold(name) for name in names]
    places: dict[str, int] = {}
    notes = []
    for field in fields:
        own = [i for i, name in enumerate(folded) if name == field]
        others = [i for i, name in enumerate(folded) if name in SYNONYMS[field]]
        found = own or others
        if len(found) > 1:
            raise BadManifest(f"{where} has `{field}` twice, {listed(names, found)}: keep one.")
        if found:
            places[field] = found[0]
        if own and others:
            notes.append(f"{listed(names, others)} is not used, `{field}` is")
        elif found and not own:
            notes.append(f"{listed(names, found)} is taken as `{field}`")
    mentioned = {name for field in places for name in SYNONYMS[field]}
    clashing: list[int] = []
    unused: list[int] = []
    for i, name in enumerate(folded):
        if name and i not in places.values() and name not in mentioned:
            clashes = is_reserved(name) or names[i].strip() in reserved
            (clashing if clashes else unused).append(i)
    if kept and clashing:
        verb, of_name = ("are", "these names") if len(clashing) > 1 else ("is", "this name")
        notes.append(
            f"{listed(names, clashing)} {verb} not kept: the records have their own of {of_name}"
        )
    if unused:
        verb = "are" if len(unused) > 1 else "is"
        fate = "kept in the records" if kept else "not used"
        hint = "; labels are read from `label`" if "label" not in places else ""
        notes.append(f"{listed(names, unused)} {verb} {fate}{hint}")
    by_name = {names[i].strip(): i for i in reversed(unused)}
    return Columns(
        places=places,
        others=dict(sorted(by_name.items(), key=lambda item: item[1])),
        notes=tuple(notes),
    )


def listed(names: Sequence[str], places: Sequence[int]) -> str:
    """Columns for a sentence."""
    given = [names[i].strip() for i in places[:5]]
    shown = ", ".join(f"`{name}`" if name.isprintable() else repr(name) for name in given)
    more = f" and {len(places) - 5} more" if len(places) > 5 else ""
    return f"the column{'s' if len(places) > 1 else ''} {shown}{more}"
