"""Tables for people."""

from typing import TYPE_CHECKING

from console.output import print_hanging, stdout

if TYPE_CHECKING:
    from rich.table import Table

ANY_WIDTH = 10_000
DASH = "—"
"""Stands for a figure that there is none of."""


def show_table(table: "Table", narrower: "Table | None" = None) -> None:
    """Print a table; on a terminal too narrow for it the narrower one, or each row as a text."""
    from rich.text import Text

    console = stdout()
    for fitting in filter(None, (table, narrower)):
        needed = console.measure(fitting, options=console.options.update_width(ANY_WIDTH)).maximum
        if needed <= console.width or not console.is_terminal:
            console.print(fitting)
            return
    titles = [str(column.header) for column in table.columns]
    for row in zip(*(column.cells for column in table.columns), strict=True):
        first, *others = (Text.from_markup(cell) if isinstance(cell, str) else cell for cell in row)
        console.print(first, style="bold", soft_wrap=True)
        told = [f"{title} {cell}" for title, cell in zip(titles[1:], others, strict=True) if cell]
        print_hanging(console, "  ", "; ".join(told))
