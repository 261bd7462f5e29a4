"""Records of a job in the formats that people take away: CSV, JSON lines, Parquet."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from producer.results.records import open_parquet, plain

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".csv", ".jsonl", ".parquet")


def export(tables: Iterable["pa.Table"], target: IO[bytes], suffix: str) -> int:
    """Write tables of records to an open file, one at a time; returns the number of records."""
    match suffix:
        case ".csv":
            return write_csv(tables, target)
        case ".jsonl":
            return write_jsonl(tables, target)
        case _:
            return write_parquet(tables, target)


def export_file(tables: Iterable["pa.Table"], path: Path) -> int:
    """Write tables of records to a file of one of `SUFFIXES`."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            count = export(tables, file, path.suffix.lower())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def write_csv(tables: Iterable["pa.Table"], target: IO[bytes]) -> int:
    """With a header line; null is an empty field."""
    from pyarrow import csv

    writer, count = None, 0
    for table in map(plain, tables):
        if writer is None:
            options = csv.WriteOptions(quoting_style="needed")
            writer = csv.CSVWriter(target, table.schema, write_options=options)
        writer.write_table(table)
        count += table.num_rows
    if writer is not None:
        writer.close()
    return count


def write_jsonl(tables: Iterable["pa.Table"], target: IO[bytes]) -> int:
    """One object per line."""
    import pyarrow as pa

    count = 0
    for table in tables:
        # As text first: the shortest decimal that is the same float32, not its float64 expansion.
        scores = table["score"].cast(pa.string()).to_pylist()
        for row, score in zip(table.to_pylist(), scores, strict=True):
            row["score"] = None if score is None else float(score)
            target.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        count += table.num_rows
    return count


def write_parquet(tables: Iterable["pa.Table"], target: IO[bytes]) -> int:
    """With a row group per batch."""
    writer, count = None, 0
    for table in tables:
        if writer is None:
            writer = open_parquet(target, table.schema)
        writer.write_table(table)
        count += table.num_rows
    if writer is not None:
        writer.close()
    return count
