"""What people see: progress and messages on stderr, results on stdout.

Plain and short when nobody watches, and nothing but JSON on stdout when that was asked for.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

from console.counts import counted
from console.output import print_hanging, say, stdout
from console.tables import show_table
from evaluation.class_table import class_table

if TYPE_CHECKING:
    from evaluation.confusion import Evaluation
    from producer.following import Progress
    from producer.results.records import Record
    from producer.results.summary import JobLine, Summary
    from producer.results.timeline import Timeline
    from storage.jobs.job import Job
    from storage.jobs.tally import Tally

MOST_ANSWERS = 20
"""So many images of a job have their answers shown one by one."""
MOST_COUNTS = 10
PLAIN_SECONDS, FIRST_SECONDS = 10.0, 5.0
"""How often progress is told where no bar can be drawn, and how soon the first images are."""


def show_progress(job: "Job", progresses: "Iterator[Progress]") -> "Tally":
    """Show progress until the job ends, as a bar where there is a terminal; returns its counts."""
    return (_show_bar if sys.stderr.isatty() else _show_lines)(job, progresses)


def _show_lines(job: "Job", progresses: "Iterator[Progress]") -> "Tally":
    began = told = time.monotonic()
    shown = 0
    for progress in progresses:
        tally = progress.tally
        if progress.notice:
            say(progress.notice)
        now = time.monotonic()
        is_first = progress.images > 0 == shown
        if now - told >= (FIRST_SECONDS if is_first else PLAIN_SECONDS):
            told, shown = now, progress.images
            rate = progress.images / (now - began)
            say(f"{progress.images:,} of {counted(job.total, 'image')}, {rate:,.0f}/s")
    return tally


def _show_bar(job: "Job", progresses: "Iterator[Progress]") -> "Tally":
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        BarColumn(),
        TextColumn("{task.fields[done]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    first: int | None = None
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("", total=job.total, done="", rate="")
        for progress in progresses:
            tally = progress.tally
            first = progress.images if first is None else first
            if progress.notice:
                bars.console.print(progress.notice, highlight=False, markup=False)
            rate = (progress.images - first) / max(1e-3, time.monotonic() - began)
            failed = f", {tally.failed:,} failed" if tally.failed else ""
            text = f"{rate:,.0f} images/s{failed}" if progress.images > first else progress.status
            done = f"{progress.images:,} of {job.total:,}"
            bars.update(bar, completed=progress.images, done=done, rate=text)
    return tally


def show_summary(summary: "Summary") -> None:
    """Print what a job came to."""
    from rich.console import Console

    from producer.results.records import ERRORS_FILE

    console = Console(highlight=False)
    images = summary.images
    console.print(f"Job {summary.id} [bold]{summary.status}[/bold], model {summary.model}")
    if summary.reason:
        print_hanging(console, "  reason      ", summary.reason)
    failed = f", {images.failed:,} failed" if images.failed else ""
    console.print(f"  images      {images.predicted:,} of {images.total:,} predicted{failed}")
    if summary.hit_rate is not None:
        console.print(
            f"  reused      {counted(summary.reused or 0, 'prediction')}, {summary.hit_rate:.1%}"
        )
    if summary.accuracy is not None:
        is_all = summary.labelled == images.total > 1
        over = "all images" if is_all else counted(summary.labelled, "labelled image")
        console.print(f"  accuracy    [bold]{summary.accuracy:.4f}[/bold] over {over}")
    if summary.top_accuracy is not None:
        console.print(f"  top {summary.top:<8}{summary.top_accuracy:.4f}")
    if summary.label_order is not None:
        print_hanging(console, "  labels      ", summary.label_order)
    if summary.labelled_later is not None:
        no_sample = ", no sample of the others" if summary.is_no_sample else ""
        console.print(f"  labels      {summary.labelled_later:,} given later{no_sample}")
    if summary.images_per_second is not None:
        console.print(f"  throughput  {summary.images_per_second:,.0f} images/s")
    if summary.timeline is not None:
        print_hanging(console, "  time        ", describe_time(summary.timeline))
    for warning in summary.warnings or ():
        print_hanging(console, "  warning     ", warning)
    folder = Path(summary.storage, "jobs", summary.id)
    console.print(f"  files       {folder}", markup=False, soft_wrap=True)
    if images.failed and (folder / ERRORS_FILE).exists():
        console.print(f"  errors      {ERRORS_FILE} tells why")
    if images.predicted or images.failed:
        print_hanging(console, "  report      ", report_hint(folder, summary.id))


def show_classes(evaluation: "Evaluation") -> None:
    """Print how well each class was told."""
    stdout().print(class_table(evaluation))


def show_answers(records: "Sequence[Record]") -> None:
    """Print the answers themselves, one per image."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    columns = {
        "image": [record.id for record in records],
        "class": [record.prediction or "" for record in records],
        "score": ["" if record.score is None else f"{record.score:.4f}" for record in records],
        "label": [record.label or "" for record in records],
        "error": [record.error or "" for record in records],
    }
    given = {title: cells for title, cells in columns.items() if any(cells)}
    table = Table(box=SIMPLE_HEAD)
    for title in given:
        table.add_column(title, justify="right" if title == "score" else "left", overflow="fold")
    for row in zip(*given.values(), strict=True):
        table.add_row(*map(Text, row))
    if records:
        show_table(table)


def show_counts(classes: "Sequence[str]", counts: "Sequence[int]") -> None:
    """Print how many images each class was predicted for, the most frequent first."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    ranked = sorted(zip(counts, classes, strict=True), key=lambda pair: -pair[0])
    rows = [(label, count) for count, label in ranked if count]
    if len(rows) > MOST_COUNTS:
        others = rows[MOST_COUNTS - 1 :]
        rows[MOST_COUNTS - 1 :] = [(f"{len(others):,} others", sum(n for _, n in others))]
    table = Table(box=SIMPLE_HEAD)
    table.add_column("predicted", overflow="fold")
    table.add_column("images", justify="right")
    for label, count in rows:
        table.add_row(Text(label), f"{count:,}")
    if rows:
        show_table(table)


def describe_time(timeline: "Timeline") -> str:
    """The wall time and the phases that took most of it, the longest first."""
    longest = sorted(timeline.phases, key=lambda phase: -phase.seconds)
    shares = [(phase.name, phase.seconds / timeline.wall_seconds) for phase in longest]
    parts = ", ".join(f"{name} {share:.0%}" for name, share in shares if share >= 0.01)
    return f"{timeline.wall_seconds:,.1f} s: {parts}"


def report_hint(folder: Path, job_id: str) -> str:
    """Where the report of a job is, or how to get it."""
    from producer.results.summary import REPORT_FILE

    return (
        REPORT_FILE if (folder / REPORT_FILE).exists() else f"`producer report {job_id}` writes it"
    )


def show_jobs(lines: "Sequence[JobLine]") -> None:
    """Print jobs, one per line."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    if not lines:
        say("There are no jobs yet: `producer submit mnist:test` makes one.")
        return
    source = [Text(line.source, overflow="fold") for line in lines]  # a path may look like markup
    columns = {
        "job": [line.id for line in lines],
        "made (UTC)": [f"{line.created_at.astimezone(UTC):%Y-%m-%d}" for line in lines],
        "status": [how_far(line) for line in lines],
        "model": [line.model for line in lines],
        "images": [f"{line.total:,}" for line in lines],
        "accuracy": ["" if line.accuracy is None else f"{line.accuracy:.4f}" for line in lines],
        "failed": ["" if line.failed is None else f"{line.failed:,}" for line in lines],
    }

    def table(columns: "Mapping[str, Sequence[str | Text]]") -> "Table":
        table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
        for title in columns:
            numbers = title in ("images", "accuracy", "failed")
            table.add_column(title, justify="right" if numbers else "left", overflow="fold")
        for row in zip(*columns.values(), strict=True):
            table.add_row(*row)
        return table

    show_table(table({**columns, "source": source}), narrower=table(columns))


def how_far(line: "JobLine") -> str:
    """The status of a job, of a running one with how much of it is done."""
    is_begun = 0 < line.done < line.total
    return f"{line.status} {line.done / line.total:.0%}" if is_begun else line.status
