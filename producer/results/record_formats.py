"""Records of a job in the formats that people take away: CSV, JSON lines, Parquet."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from producer.errors import SourceError
from producer.results.records import classes_of, open_parquet, plain
from storage.manifests.columns import probability_column

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
    if not path.parent.is_dir():
        raise SourceError(f"There is no folder {path.parent} to write {path.name} into.")
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            count = export(tables, file, path.suffix.lower())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def write_csv(tables: Iterable["pa.Table"], target: IO[bytes]) -> int:
    """With a header line and a column for each probability; null is an empty field."""
    from pyarrow import csv

    writer, count = None, 0
    for table in map(flat, map(plain, tables)):
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
        classes = classes_of(table.schema)
        for column in range(table.num_columns):
            if pa.types.is_floating(value_type(table.schema.field(column).type)):
                table = shortened(table, column)
        for row in table.to_pylist():
            if row.get("probabilities"):
                row["probabilities"] = dict(zip(classes, row["probabilities"], strict=True))
            target.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        count += table.num_rows
    return count


def value_type(type_: "pa.DataType") -> "pa.DataType":
    """Of a list the type of what is in it."""
    return getattr(type_, "value_type", type_)


def shortened(table: "pa.Table", column: int) -> "pa.Table":
    """A column of float32 with the same numbers as float64 in as few decimals as tell them."""
    import pyarrow as pa

    kind = table.schema.field(column).type
    as_text, wide = pa.string(), pa.float64()
    if pa.types.is_fixed_size_list(kind):
        as_text, wide = pa.list_(as_text, kind.list_size), pa.list_(wide, kind.list_size)
    values = table.column(column).cast(as_text).cast(wide)
    return table.set_column(column, table.schema.field(column).name, values)


def flat(table: "pa.Table") -> "pa.Table":
    """The records with a column `p_<class>` for each probability instead of their list."""
    if "probabilities" not in table.column_names:
        return table
    from pyarrow.compute import list_element

    lists = table["probabilities"].combine_chunks()
    table = table.drop_columns(["probabilities"])
    for position, name in enumerate(classes_of(table.schema)):
        values = list_element(lists, position)
        table = table.append_column(probability_column(name), values)
    return table


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
