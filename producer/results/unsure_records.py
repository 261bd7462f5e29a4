"""The records that the model was least sure of, for people to check and label."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

FILLED_IN = (".csv", ".jsonl")
"""Formats that people write labels into, and `producer label` takes back."""


class UnsureRecords:
    """Of tables of records those whose score is below a limit; counts what it passes."""

    def __init__(self, tables: Iterable["pa.Table"], below: float, *, to_fill_in: bool) -> None:
        """With `to_fill_in` the column `label` is empty, so that what stands in it later is new."""
        self.read = 0
        """Records that were looked at."""
        self.failed = 0
        """Those of failed images, which have no score."""
        self._tables = tables
        self._below = below
        self._to_fill_in = to_fill_in

    def __iter__(self) -> Iterator["pa.Table"]:
        import pyarrow as pa
        import pyarrow.compute as pc

        limit = pa.scalar(self._below, pa.float32())  # as scores are: 0.9 is not below 0.9
        for table in self._tables:
            self.read += table.num_rows
            self.failed += table["score"].null_count
            found = table.filter(pc.less(table["score"], limit))
            if self._to_fill_in:
                place = found.schema.get_field_index("label")
                field = found.schema.field(place)
                found = found.set_column(place, field, pa.nulls(found.num_rows, field.type))
            yield found
