"""Metrics per class as a table on a terminal."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from evaluation.confusion import Evaluation

MOST_CLASS_ROWS = 40


def class_table(evaluation: "Evaluation") -> "Table":
    """Precision, recall and F1 per class; of very many classes those with the lowest F1."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from console.tables import DASH

    rows = evaluation.per_class()
    title = None
    if len(rows) > MOST_CLASS_ROWS:
        title = f"The {MOST_CLASS_ROWS} of {len(rows)} classes with the lowest F1"
        rows = sorted(rows, key=lambda row: row.f1)[:MOST_CLASS_ROWS]
    table = Table(title=title, box=SIMPLE_HEAD)
    table.add_column("class", overflow="fold")
    for name in ("precision", "recall", "F1", "images"):
        table.add_column(name, justify="right")
    for row in rows:
        # Each with its denominator: without one there is no such figure.
        metrics = (
            (row.precision, row.predicted),
            (row.recall, row.support),
            (row.f1, row.support + row.predicted),
        )
        told = (f"{figure:.4f}" if images else DASH for figure, images in metrics)
        table.add_row(Text(row.label), *told, f"{row.support:,}")
    return table
