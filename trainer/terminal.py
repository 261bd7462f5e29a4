"""What people see: progress and messages on stderr, results on stdout."""

import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console
    from rich.table import Table

    from storage.models import ModelVersion
    from trainer.listing import DataSetLine, ModelLine
    from trainer.schedule import ScheduleLine

PLAIN_WIDTH = 200
MOST_CLASS_ROWS = 40


def say(message: object) -> None:
    """Tell the user something that is no result."""
    click.echo(str(message), err=True)


class SayHandler(logging.Handler):
    """Tells what the trainer's own modules log, a sentence a line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        say(record.getMessage())


def say_logs() -> None:
    """Show what the trainer logs from now on."""
    logger = logging.getLogger("trainer")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        logger.addHandler(SayHandler())


def show_models(lines: "Sequence[ModelLine]") -> None:
    """Print model versions, one per line."""
    if not lines:
        say("There are no models yet: `trainer train --dataset mnist --network mlp` makes one.")
        return
    table = _table("model", "champion", "network", "data set")
    for name in ("accuracy", "size"):
        table.add_column(name, justify="right")
    table.add_column("trained")
    for line in lines:
        table.add_row(
            f"{line.name}@{line.version}",
            "[bold green]★[/]" if line.champion else "",
            line.network,
            f"{line.dataset}@{line.dataset_number}",
            f"{line.accuracy:.4f}",
            _readable_size(line.bytes),
            f"{line.created_at.astimezone():%Y-%m-%d %H:%M}",
        )
    _stdout().print(table)


def show_datasets(lines: "Sequence[DataSetLine]") -> None:
    """Print the versions of data sets, one per line."""
    if not lines:
        say("There are no data sets yet: `trainer data add mnist` adds one.")
        return
    table = _table("data set", "images", "shape")
    for name in ("classes", "size"):
        table.add_column(name, justify="right")
    table.add_column("origin", overflow="fold")
    for line in lines:
        table.add_row(
            f"{line.name}@{line.version}",
            ", ".join(f"{count:,} {split}" for split, count in line.splits.items()),
            " x ".join(map(str, line.shape)),
            str(len(line.classes)),
            _readable_size(line.bytes),
            ", ".join([line.origin, *(f"{a.added:,} from {a.source}" for a in line.appended)]),
        )
    _stdout().print(table)


def show_schedule(line: "ScheduleLine") -> None:
    """Print the schedule of trainings, the last and the next."""

    def time(at: "datetime | None") -> str:
        return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "never"

    facts = {
        "trains": f"{line.network} on {line.dataset}"
        + (f" as {line.name}" if line.name != line.dataset else ""),
        "schedule": line.schedule or "none: set BATCHSIGHT_RETRAIN_SCHEDULE, to `0 3 * * *` say",
    }
    if line.schedule:
        facts["last sent"] = time(line.last_sent_at)
        facts["next"] = time(line.next_at)
    if line.missed:
        facts["missed"] = "one is overdue: it is caught up when beat runs"
    facts["newest"] = f"{line.newest}, {time(line.newest_at)}" if line.newest else "none so far"
    for name, fact in facts.items():
        _stdout().print(f"{name:<11}{fact}", markup=False, soft_wrap=True)


def show_model(version: "ModelVersion", line: "ModelLine") -> None:
    """Print all that is known of a version."""
    manifest = version.manifest
    console = _stdout()
    console.print(f"[bold]{version}[/bold]{', champion' if line.champion else ''}")
    trained = f"{manifest.created_at.astimezone():%Y-%m-%d %H:%M}"
    metrics = manifest.metrics
    facts = {
        "accuracy": f"{manifest.accuracy:.4f} on {manifest.evaluation.count:,} test images",
        "loss": f"{metrics.get('loss', float('nan')):.4f}",
        "network": f"{manifest.network}, {metrics.get('parameters', 0):,.0f} parameters",
        "data set": f"{manifest.dataset}@{manifest.dataset_number} "
        f"({manifest.dataset_sha256[:12]})",
        "trained": f"{trained}, {metrics.get('seconds', 0):.0f} s, {manifest.epochs} epochs of "
        f"batches of {manifest.batch_size}, seed {manifest.seed}",
        "versions": ", ".join(f"{name} {number}" for name, number in manifest.versions.items()),
        "file": f"{_readable_size(line.bytes)}, SHA-256 {manifest.sha256[:12]}",
        "folder": str(version.folder),
    }
    for name, fact in facts.items():
        console.print(f"  {name:<10}{fact}", markup=False, soft_wrap=True)
    console.print(_class_table(version))


def _class_table(version: "ModelVersion") -> "Table":
    """Precision, recall and F1 per class; of very many classes those with the lowest F1."""
    rows = version.manifest.evaluation.per_class()
    if len(rows) > MOST_CLASS_ROWS:
        rows = sorted(rows, key=lambda row: row.f1)[:MOST_CLASS_ROWS]
    table = _table("class")
    for name in ("precision", "recall", "F1", "images"):
        table.add_column(name, justify="right")
    for row in rows:
        figures = (f"{figure:.4f}" for figure in (row.precision, row.recall, row.f1))
        table.add_row(row.label, *figures, f"{row.support:,}")
    return table


def _table(*columns: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(*columns, box=SIMPLE_HEAD)


def _stdout() -> "Console":
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def _readable_size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
