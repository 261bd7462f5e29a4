"""The lines of a table that a user has written, `.csv`, `.tsv` or `.jsonl`, with their numbers.

Tables are read as spreadsheets and scripts save them: in UTF-8 or UTF-16, separated by commas,
semicolons, tabs or bars, with empty lines and columns. What was taken for what is said in a note.
"""

import codecs
import csv
import json
import math
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from storage.errors import BadManifest
from storage.manifests.columns import Columns, find_columns

SUFFIXES = (".csv", ".tsv", ".jsonl")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
SEPARATOR_LINE = re.compile(r'"?sep=([^"\w\s]|\t)"?[,;\s]*', re.IGNORECASE)
"""The first line by which spreadsheets tell one another what separates the columns."""
BLANK = " \t\r\n,;|"
MOST_KINDS = 1_000
"""Of lines with different keys that are remembered."""
MOST_NOTES = 10
MOST_SHOWN = 60
"""Characters of a line that are shown in a sentence."""


class Row(NamedTuple):
    line: int
    fields: dict[str, str]
    """The text of each field that was asked for, "" where it is absent."""
    others: dict[str, str]
    """The text of the other columns, where they are kept."""


class Head(NamedTuple):
    """The line of a CSV file that names its columns."""

    text: str
    line: int
    separator: str
    width: int
    """Columns."""
    columns: Columns
    """Which of them are the fields."""


class Table:
    """A `.csv`, `.tsv` or `.jsonl` file, of whose columns some are read.

    Iterating reads it anew. Raises `BadManifest`, naming the line, for one that cannot be read, and
    for a file that lacks a column of `sample`, which is a line as it should be. With `keep_others`
    its other columns are read too, but for those of records and `reserved` ones.
    """

    def __init__(
        self,
        path: Path,
        sample: Mapping[str, str],
        fields: Sequence[str] | None = None,
        *,
        keep_others: bool = False,
        reserved: Container[str] = (),
    ) -> None:
        self.path = path
        self.notes: list[str] = []
        """What the user should know of what was read so far, one sentence each."""
        self._sample = sample
        self._fields = tuple(fields or sample)
        self._keep_others = keep_others
        self._reserved = reserved

    def __iter__(self) -> Iterator[Row]:
        self.notes.clear()
        encoding = encoding_of(self.path)
        if not encoding.startswith("utf-8"):
            self.note(f"{self.path} is read as {encoding.upper()}.")
        errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
        with self.path.open(encoding=encoding, errors=errors, newline="") as file:
            lines = self._lines(file)
            json_lines = self.path.suffix.lower() == ".jsonl"
            yield from self._json_rows(lines) if json_lines else self._csv_rows(lines)

    def note(self, note: str) -> None:
        """Keep a sentence for the user, once."""
        if note not in self.notes and len(self.notes) < MOST_NOTES:
            self.notes.append(note)

    def where(self, line: int) -> str:
        """A line as sentences name it."""
        return f"Line {line} of {self.path}"

    def _lines(self, file: TextIO) -> Iterator[str]:
        number = 0
        try:
            for number, text in enumerate(file, 1):  # noqa: B007 (the last one that was read)
                if not text.isascii():
                    text.encode()  # finds what was no UTF-8
                yield text
        except UnicodeEncodeError:
            raise BadManifest(f"{self.where(number)} is not UTF-8 text: save it as such.") from None
        except UnicodeDecodeError:
            raise BadManifest(f"{self.path} is not text: save it as UTF-8.") from None

    def _csv_rows(self, lines: Iterator[str]) -> Iterator[Row]:
        head = self._head(lines)
        reader = csv.reader(
            chain([head.text], lines), delimiter=head.separator, skipinitialspace=True, strict=True
        )
        line = head.line
        others = head.columns.others if self._keep_others else {}
        try:
            next(reader)
            for cells in reader:
                begun, line = line + 1, head.line - 1 + reader.line_num
                cells = [cell.strip() for cell in cells]
                if not any(cells):
                    continue
                if any(cells[head.width :]):
                    raise BadManifest(
                        f"{self.where(begun)} has {len(cells)} fields, but there are {head.width} "
                        f"columns: put a field with a {head.separator!r} in it in quotation marks."
                    )
                cells += [""] * (head.width - len(cells))
                places = head.columns.places
                yield Row(
                    begun,
                    {
                        field: cells[places[field]] if field in places else ""
                        for field in self._fields
                    },
                    {name: cells[place] for name, place in others.items()},
                )
        except csv.Error as error:
            raise BadManifest(
                f"{self.where(line + 1)} is not CSV ({error}): look at its quotation marks."
            ) from None

    def _head(self, lines: Iterator[str]) -> Head:
        """The line that names the columns; what separates them is what makes it name those."""
        separators = "\t" if self.path.suffix.lower() == ".tsv" else "".join(SEPARATORS)
        text, number = "", 0
        for number, text in enumerate(lines, 1):  # noqa: B007 (the one that was broken off at)
            if told := SEPARATOR_LINE.fullmatch(text.rstrip("\r\n")):
                separators = told[1]
            elif text.strip(BLANK):
                break
        for separator in separators:
            names = split(text, separator)
            columns = self._find(names, str(self.path))
            if set(self._sample) <= set(columns.places):
                self._note_columns(columns)
                if separator != separators[0]:
                    self.note(f"{self.path} is read as separated by {SEPARATORS[separator]}.")
                return Head(text, number, separator, len(names), columns)
        found = self._find(split(text, separators[0]), str(self.path)).places
        missing = next(column for column in self._sample if column not in found)
        shown = f"; now that is {shorten(text.strip())!r}" if text.strip(BLANK) else ""
        raise BadManifest(
            f"{self.path} has no column `{missing}`: name the columns in its first line, as in "
            f"{','.join(self._sample)}{shown}."
        )

    def _json_rows(self, lines: Iterator[str]) -> Iterator[Row]:
        known: dict[tuple[str, ...], Columns] = {}
        for line, text in enumerate(lines, 1):
            if not text.strip():
                continue
            keys, values = self._json_object(line, text)
            if keys not in known:
                if len(known) == MOST_KINDS:
                    known.clear()
                if len(set(keys)) < len(keys):
                    raise BadManifest(f"{self.where(line)} has a key twice: keep one.")
                columns = self._find(keys, self.where(line))
                self._note_columns(columns)
                known[keys] = columns
            places = known[keys].places
            others = known[keys].others if self._keep_others else {}
            yield Row(
                line,
                {
                    field: self._text(line, field, values[places[field]]) if field in places else ""
                    for field in self._fields
                },
                {name: json_text(values[place]) for name, place in others.items()},
            )

    def _json_object(self, line: int, text: str) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Keys and values of the object that is one line."""
        try:
            # Outermost is what is called last: a doubled key is seen, not overwritten.
            pairs = json.loads(text, object_pairs_hook=list)
        except (ValueError, RecursionError):
            pairs = None
        if not text.lstrip().startswith("{") or pairs is None:
            hint = "; `jq -c '.[]'` makes such lines of a list" if text.lstrip()[0] == "[" else ""
            raise BadManifest(
                f"{self.where(line)} is not a JSON object: write each line as "
                f"{json.dumps(self._sample)}{hint}."
            )
        return tuple(key for key, _ in pairs), tuple(value for _, value in pairs)

    def _text(self, line: int, field: str, value: object) -> str:
        """A field of JSON as text, numbers included."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise BadManifest(
                f"{self.where(line)} has a `{field}` that is neither text nor a whole number."
            )
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise BadManifest(
                f"{self.where(line)} has a `{field}` with half a character (a lone surrogate)."
            ) from None
        return text

    def _find(self, names: Sequence[str], where: str) -> Columns:
        return find_columns(
            names, self._fields, where, kept=self._keep_others, reserved=self._reserved
        )

    def _note_columns(self, columns: Columns) -> None:
        for note in columns.notes:
            self.note(f"In {self.path} {note}.")


def json_text(value: object) -> str:
    """A value of JSON as text: a string as it is, half characters replaced."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(as_objects(value), ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()


def as_objects(value: object) -> object:
    """A value that was read with its objects as lists of pairs, with objects again."""
    if isinstance(value, list):
        if value and all(isinstance(item, tuple) for item in value):
            return {key: as_objects(item) for key, item in value}
        return [as_objects(item) for item in value]
    return value


def encoding_of(path: Path) -> str:
    """How the text of a file is encoded, by its byte order mark or its first zero byte."""
    with path.open("rb") as file:
        head = file.read(4)
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in head[:2]:
        return "utf-16-be" if head[0] == 0 else "utf-16-le"
    return "utf-8-sig"


def split(line: str, separator: str) -> list[str]:
    """The cells of one line of CSV."""
    cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    return [cell.strip() for cell in cells]


def shorten(text: str) -> str:
    """Text for a sentence."""
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."
