"""What people see: progress and messages on stderr, results on stdout."""

import logging
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from console.counts import counted
from console.moments import in_utc
from console.output import print_hanging, say, stdout
from console.tables import show_table
from evaluation.class_table import MOST_CLASS_ROWS, class_table

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

    from storage.datasets.store import Appended
    from storage.models.metrics import Metrics
    from storage.models.promotions import Promotion
    from storage.models.runtime_choice import RuntimeChoice
    from storage.models.store import ModelVersion
    from trainer.catalogue import DataSetLine, ModelLine
    from trainer.promotion.gate import Answers, Judgement
    from trainer.queue.schedule import ScheduleLine
    from trainer.training.progress import EpochReport, EpochStep

BAR_AFTER_SECONDS = 1.0
VERSION_COLUMN: dict[str, Any] = {"justify": "right", "no_wrap": True}


class SayHandler(logging.Handler):
    """Tells what the trainer's own modules log, a sentence a line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        say(record.getMessage())


def say_logs(*, phases: bool = False) -> None:
    """Show what the trainer logs from now on, with the phases of long work if asked."""
    logger = logging.getLogger("trainer")
    logger.setLevel(logging.DEBUG if phases else logging.INFO)
    if not logger.handlers:
        logger.addHandler(SayHandler())


def log_phase(phase: str) -> None:
    """Show a phase that another process has logged, where those of this one are shown."""
    logging.getLogger(__name__).debug("%s", phase)


class EpochBar:
    """The epoch that runs as a bar, where there is a terminal, and each report below another."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._reported, self._reported_at = 0, time.monotonic()

    def __enter__(self) -> "EpochBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def step(self, step: "EpochStep") -> None:
        """Move the bar; one that would be seen for a moment only is not drawn."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        if not sys.stderr.isatty() or step.epoch <= self._reported:
            return
        if self._bars is None:
            if time.monotonic() - self._reported_at < BAR_AFTER_SECONDS:
                return
            text = f"epoch {step.epoch}/{step.epochs}"
            columns = (TextColumn(text), BarColumn(), TextColumn("{task.fields[images]}"))
            self._bars = Progress(
                *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True
            )
            self._bars.add_task("", total=step.total, images="")
            self._bars.start()
        images = f"{step.done:,} of {step.total:,} images"
        self._bars.update(self._bars.task_ids[0], completed=step.done, images=images)

    def report(self, report: "EpochReport") -> None:
        """Tell a finished epoch in place of its bar."""
        self._reported, self._reported_at = report.epoch, time.monotonic()
        self._remove()
        say(report)

    def _remove(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


def show_models(lines: "Sequence[ModelLine]") -> None:
    """Print model versions, one per line."""
    if not lines:
        say("There are no models yet: `trainer train --dataset mnist --network mlp` makes one.")
        return
    table = _table("model", "champion", "network", "data set")
    table.pad_edge, table.collapse_padding = False, True
    for name in ("accuracy", "size"):
        table.add_column(name, justify="right")
    table.add_column("made (UTC)")
    for line in lines:
        table.add_row(
            f"{line.name}@{line.version}",
            "[bold green]★[/]" if line.champion else "",
            line.network,
            f"{line.dataset}@{line.dataset_number}" if line.dataset else "",
            "" if line.accuracy is None else f"{line.accuracy:.4f}",
            _readable_size(line.bytes),
            f"{line.created_at.astimezone(UTC):%Y-%m-%d %H:%M}",
        )
    show_table(table)


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
            ", ".join([line.origin, *map(_appended, line.appended)]),
        )
    show_table(table)


def _appended(part: "Appended") -> str:
    counts = [f"{part.added:,}"] if part.added else []
    counts += [f"{part.corrected:,} corrected"] if part.corrected else []
    return f"{' and '.join(counts)} from {part.source}"


def show_schedule(line: "ScheduleLine") -> None:
    """Print the schedule of trainings, the last and the next."""

    def time(at: datetime | None) -> str:
        return in_utc(at) if at else "never"

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
        print_hanging(stdout(), f"{name:<11}", fact)


def show_model(version: "ModelVersion", line: "ModelLine") -> None:
    """Print all that is known of a version."""
    from storage.models.promotions import read_promotion
    from storage.models.runtime_choice import TITLES
    from storage.models.store import IMPORTED
    from trainer.datasets.class_folders import brief

    manifest = version.manifest
    console = stdout()
    console.print(f"[bold]{version}[/bold]{', champion' if line.champion else ''}")
    at = in_utc(manifest.created_at)
    metrics, tested = manifest.metrics, manifest.evaluation.count
    facts = {
        "accuracy": f"{manifest.accuracy:.4f} on {tested:,} test images" if tested else "unknown"
    }
    if manifest.network == IMPORTED:
        facts["network"] = f"imported {at}"
    else:
        preset = f" ({manifest.preset})" if manifest.preset != "default" else ""
        parameters = f"{metrics.get('parameters', 0):,.0f} parameters"
        facts["loss"] = f"{metrics.get('loss', float('nan')):.4f}"
        start = f" from {manifest.parent}" if manifest.parent else ""
        facts["network"] = f"{manifest.network}{preset}{start}, {parameters}"
    if manifest.dataset and manifest.dataset_sha256:
        digest = manifest.dataset_sha256[:12]
        facts["data set"] = f"{manifest.dataset}@{manifest.dataset_number} ({digest})"
    if manifest.network != IMPORTED:
        epochs = metrics.get("epochs", manifest.epochs)
        facts["trained"] = (
            f"{at}, {metrics.get('seconds', 0):.0f} s, {counted(round(epochs or 0), 'epoch')} of "
            f"batches of {manifest.batch_size}, seed {manifest.seed}"
        )
    shape, how = " x ".join(map(str, manifest.input_shape)), manifest.preprocessing
    facts["pictures"] = f"to {shape} by {how.resize}, {how.interpolation}"
    if how.shorter_side:
        facts["pictures"] += f", the shorter side {how.shorter_side} first"
    if how.filters:
        facts["pictures"] += f", {'scaled' if how.scaled_decoding else 'full'} decoding"
    if contract := manifest.contract:
        facts["network"] = (
            f"imported, {contract.source}: takes {contract.layout}, scale {contract.scaling.name}"
            f"{' in BGR' if contract.scaling.bgr else ''}, gives {contract.output}"
        )
    if how.background is not None:
        facts["pictures"] += f", over #{bytes(how.background).hex()}"
    facts["classes"] = brief(manifest.labels)
    facts |= {
        "versions": ", ".join(f"{name} {number}" for name, number in manifest.versions.items()),
        "file": f"{_readable_size(line.bytes)}, SHA-256 {manifest.sha256[:12]}",
        "folder": str(version.folder),
    }
    if choice := manifest.runtime:
        facts["runtime"] = f"{TITLES[choice.runtime]}: {choice.reason}"
    if choice and choice.agreement and choice.agreement.holds:
        facts["runtime"] += (
            f"; probabilities at most {choice.agreement.difference:.1g} apart on "
            f"{counted(choice.agreement.images, 'image')}"
        )
    if promotion := read_promotion(version):
        facts["gate"] = f"{'passed' if promotion.passed else 'refused'}: {promotion.reason}"
        if promotion.overrides:
            last = promotion.overrides[-1]
            facts["forced"] = f"by {last.by}, {in_utc(last.at)}"
    for name, fact in facts.items():
        print_hanging(console, f"  {name:<10}", fact)
    if choice:
        console.print(_runtime_table(choice))
    if tested:
        console.print(class_table(version.manifest.evaluation))


def show_comparison(judgement: "Judgement") -> None:
    """Print two versions side by side, class by class, and what the gate says of the second."""
    second, first = judgement.candidate, judgement.champion
    promotion = judgement.promotion
    assert first and second
    console = stdout()
    both = [first.performance, second.performance]
    table = _table(f"{promotion.dataset}:test, {counted(promotion.images, 'image')}")
    for answers in (first, second):
        table.add_column(str(answers.version), **VERSION_COLUMN)
    metrics = [performance.metrics for performance in both]
    table.add_row("accuracy", *(f"{p.accuracy:.4f}" for p in both))
    table.add_row("right", *(f"{p.right:,}" for p in both))
    table.add_row("scores off by", *(f"{p.calibration_error:.4f}" for p in both))
    _add_metrics(table, metrics)
    show_table(table)
    show_table(_recall_table(promotion, first, second))
    for check in promotion.checks:
        mark = "[yellow]![/]" if check.notable else "[green]✓[/]"
        mark = mark if check.passed else "[bold red]✗[/]"
        console.print(f"  {mark} ", end="")
        print_hanging(console, f"{check.name:<13}", check.finding, indent=4)
    verdict = "would pass" if promotion.passed else "would be refused"
    console.print(f"Beside {first.version}, {second.version} {verdict}.")


def _runtime_table(choice: "RuntimeChoice") -> "Table":
    """What a version costs in each of its runtimes."""
    from storage.models.runtime_choice import TITLES

    table = _table("runtime")
    for runtime in choice.metrics:
        table.add_column(TITLES[runtime], **VERSION_COLUMN)
    _add_metrics(table, list(choice.metrics.values()))
    return table


def _add_metrics(table: "Table", metrics: Sequence["Metrics"]) -> None:
    """What using a version costs, a column for each of several."""
    table.add_row("images/s", *(f"{m.images_per_second:,.0f}" for m in metrics))
    table.add_row("one image", *(f"{m.latency_ms:.2f} ms" for m in metrics))
    table.add_row("CPU", *(f"{m.cpu_ms:.2f} ms" for m in metrics))
    table.add_row("memory", *(f"{m.peak_memory_mb:,.0f} MB" for m in metrics))
    table.add_row("to load", *(f"{m.load_seconds:.2f} s" for m in metrics))


def _recall_table(promotion: "Promotion", first: "Answers", second: "Answers") -> "Table":
    """Recall per class by both; of very many classes those where it fell most."""
    from rich.markup import escape

    table = _table("class")
    for title in (f"recall, {first.version}", str(second.version)):
        table.add_column(title, **VERSION_COLUMN)
    table.add_column("images", justify="right")
    support = second.evaluation.matrix.sum(axis=1).tolist()
    recalls = (first.performance.recall, second.performance.recall)
    rows = list(zip(promotion.classes, *recalls, support, strict=True))
    if len(rows) > MOST_CLASS_ROWS:
        rows = sorted(rows, key=lambda row: row[2] - row[1])[:MOST_CLASS_ROWS]
    for label, before, now, images in rows:
        table.add_row(escape(label), f"{before:.4f}", f"{now:.4f}", f"{images:,}")
    return table


def _table(*columns: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for title in columns:
        table.add_column(title, overflow="fold")
    return table


def _readable_size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
