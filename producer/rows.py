"""The lines of a `.csv` or `.jsonl` file that a user has written, with their numbers."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from producer.errors import BadManifest

SUFFIXES = (".csv", ".jsonl")


def read_rows(path: Path, sample: Mapping[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of each line and its fields, as text or as JSON has them.

    `sample` is a line as it should be. Raises `BadManifest`, naming the line, for one that cannot
    be read, and for a `.csv` file without a column of the sample's.
    """
    rows = _csv_rows if path.suffix.lower() == ".csv" else _json_rows
    try:
        yield from rows(path, sample)
    except UnicodeDecodeError:
        raise BadManifest(f"{path} is not UTF-8 text: save it as such.") from None


def text_of(row: Mapping[str, Any], key: str, where: str) -> str:
    """A field as text, numbers included; "" when it is absent."""
    value = row.get(key)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadManifest(f"{where} has a `{key}` that is neither text nor a whole number.")
    return str(value)


def _csv_rows(path: Path, sample: Mapping[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        try:
            for column in sample:
                if column not in (reader.fieldnames or ()):
                    raise BadManifest(
                        f"{path} has no column `{column}`: name the columns in its first line, "
                        f"as in {','.join(sample)}."
                    )
            for row in reader:
                yield reader.line_num, row
        except csv.Error as error:
            raise BadManifest(f"Line {reader.line_num} of {path} is not CSV ({error}).") from None


def _json_rows(path: Path, sample: Mapping[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise BadManifest(
                    f"Line {line} of {path} is not a JSON object: write each line as "
                    f"{json.dumps(sample)}."
                )
            yield line, row
