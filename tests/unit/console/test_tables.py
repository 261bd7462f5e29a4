"""Tables that are too wide for their terminal."""

import pytest

from tests.terminal import lines_on_terminal

PROGRAM = """
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text
from console.tables import show_table

table = Table(box=SIMPLE_HEAD)
for title in ("data set", "images", "origin"):
    table.add_column(title)
table.add_row("mnist@1", "[bold]60,000[/] train", Text("folder:/home/[me]/batchsight/digits"))
table.add_row("[bold]things@1[/]", "", Text("list:things.csv, 12 from job:first"))
show_table(table)
"""


@pytest.mark.parametrize("columns", [65, 80])
def test_a_table_that_fits_is_one(columns: int) -> None:
    lines = lines_on_terminal(PROGRAM, columns=columns)
    header, _, first, second = filter(str.strip, lines)
    assert header.split() == ["data", "set", "images", "origin"]
    assert first.split() == ["mnist@1", "60,000", "train", "folder:/home/[me]/batchsight/digits"]
    assert second.split()[:2] == ["things@1", "list:things.csv,"]


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        (
            64,
            [
                "mnist@1",
                "  images 60,000 train; origin",
                "  folder:/home/[me]/batchsight/digits",
                "things@1",
                "  origin list:things.csv, 12 from job:first",
            ],
        ),
        (
            30,
            [
                "mnist@1",
                "  images 60,000 train; origin",
                "  folder:/home/[me]/batchsight/digits",
                "things@1",
                "  origin list:things.csv, 12",
                "  from job:first",
            ],
        ),
    ],
)
def test_a_wider_one_is_told_row_by_row_with_nothing_cut(columns: int, lines: list[str]) -> None:
    assert lines_on_terminal(PROGRAM, columns=columns) == lines
