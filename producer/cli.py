"""The `producer` command. Each command is thin; what it does lies in the modules it imports.

Imports are inside the commands: `producer --help` must not wait for NumPy or Celery.
"""

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from console.command_line import FAILED, INTERRUPTED, OneSentence, Share, as_json
from console.counts import counted
from console.output import print_json, say
from console.waiting import waiting_for

if TYPE_CHECKING:
    from producer.client import JobHandle, PredictionClient
    from producer.results.summary import Summary
    from producer.results.timeline import Timeline
    from storage.jobs.tally import Tally

LONGEST_AGE = timedelta(days=36_525)
RECORD_ERRORS, OVER_FAILURE_LIMIT, FAULTS_FOUND = 3, 4, 5

EXIT_CODES = """
\b
Exit codes:
  0    all good
  1    failed or cancelled
  2    wrong usage
  3    finished, but some images have an error record instead of a prediction
  4    stopped by --max-failure-rate
  5    verify found faults
  130  interrupted; a submitted job goes on
"""


@click.group(cls=OneSentence, epilog=EXIT_CODES)
@click.version_option(package_name="batchsight", message="batchsight %(version)s")
def cli() -> None:
    """Send images to be classified, follow the jobs and gather their predictions.

    Configured by the environment: BATCHSIGHT_STORAGE names the shared folder and
    BATCHSIGHT_REDIS_URL the broker.
    """


def client() -> "PredictionClient":
    """The client that a caller of `cli` has passed as `obj`, else one for the environment."""
    from producer.client import PredictionClient

    passed: PredictionClient | None = click.get_current_context().obj
    return passed or PredictionClient()


@cli.command()
@click.argument("source", nargs=-1, required=True)
@click.option(
    "--model",
    metavar="NAME[@N|@champion]",
    help="Default: named like the data set, or the only one.",
)
@click.option("--batch-size", type=click.IntRange(1, 1_000_000), help="Images per batch.")
@click.option("--limit", type=click.IntRange(min=1), help="Take only the first N images.")
@click.option("--job-id", help="Submitting the same again under the same id does nothing new.")
@click.option(
    "--max-in-flight", type=click.IntRange(1, 100_000), help="Batches in the queue at once."
)
@click.option(
    "--max-failure-rate",
    type=Share(),
    metavar="X",
    help="Stop when more than this share of the images fail, 0 to 1.",
)
@click.option(
    "--reuse",
    is_flag=True,
    help="Do not compute again what the same model has classified in a job with --reuse.",
)
@click.option(
    "--top",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="Keep the K likeliest classes of each image.",
    metavar="K",
)
@click.option("--probabilities", is_flag=True, help="Keep the probabilities of all classes.")
@click.option(
    "--follow-links", is_flag=True, help="Follow the links of a FOLDER wherever they lead."
)
@click.option(
    "--strict",
    is_flag=True,
    help="Images of a FOLDER in formats that are not supported become errors, one by one; files "
    "without a suffix are images if they begin like one.",
)
@click.option("--wait/--no-wait", default=True, help="Follow the job to its end (the default).")
@as_json
def submit(source: tuple[str, ...], *, wait: bool, json_: bool, **options: Any) -> None:
    """Classify the images of SOURCE.

    \b
    SOURCE is one of
      mnist:test         a data set and one of its splits
      FOLDER             all images below it; class subfolders become labels
      LIST.csv, .jsonl   lines with path, and label and id if you like; .tsv too
      ARRAY.npy, .npz    uint8 images (N, H, W) or (N, H, W, C)
      IMAGE...           image files

    The default batch size is a tenth of the images, at least 16, at most 50,000 of an array or
    2,000 files: a batch should hide the cost of the queue and be short enough to repeat.
    """  # noqa: D301 (click wants the real character)
    from producer.client import new_job_id

    producer = client()
    job_id = options.pop("job_id") or new_job_id(datetime.now(UTC))
    with interruptible(producer.jobs.path(job_id), job_id):
        with waiting_for(f"Reading {source[0]}"):
            handle = producer.submit(*source, job_id=job_id, **options)
        for note in handle.notes:
            say(note)
        job = handle.job
        images = counted(job.total, "image")
        batches = counted(job.batches, "batch", "batches")
        say(f"Job {job.id}: {images} in {batches} for {job.model}.")
        if wait:
            follow(handle, json_)
            return
        if handle.unsent:
            raise handle.unsent
        if json_:
            print_summary(handle.summary())
        else:
            click.echo(job.id)


@cli.command()
@click.argument("job_id", metavar="JOB")
@click.option("--follow", "follow_", is_flag=True, help="Stay until the job has ended.")
@as_json
def status(job_id: str, *, follow_: bool, json_: bool) -> None:
    """Tell how far JOB is."""
    handle = client().job(job_id)
    if follow_:
        follow(handle, json_)
    else:
        with waiting_for("Reading the results"):
            tally = handle.tally()
        show(handle, tally, json_)


@cli.command()
@click.argument("job_id", metavar="JOB")
@click.option(
    "-o", "--output", metavar="FILE", help="A .csv, .jsonl or .parquet file; else stdout."
)
@click.option(
    "--below",
    type=Share(),
    metavar="SCORE",
    help="Only images with a score below this, 0 to 1. In CSV and JSON lines `label` is empty, to "
    "be filled in for `producer label`.",
)
def results(job_id: str, *, output: str | None, below: float | None) -> None:
    """Write the records of JOB, one per image: CSV on stdout, or FILE."""
    from producer.results.record_formats import SUFFIXES, export, export_file
    from producer.results.unsure_records import FILLED_IN, UnsureRecords

    path = Path(output) if output else None
    suffix = path.suffix.lower() if path else ".csv"
    if suffix not in SUFFIXES:
        raise click.BadParameter(
            f"{path} must end in {', '.join(SUFFIXES)}.", param_hint="'--output'"
        )
    handle = client().job(job_id)
    all_records = handle.records()
    unsure = None
    if below is not None:
        unsure = UnsureRecords(all_records, below, to_fill_in=suffix in FILLED_IN)
    records = unsure or all_records
    if path:
        with waiting_for(f"Writing {path}"):
            count = export_file(records, path)
    else:
        count = export(records, sys.stdout.buffer, suffix)
    read = unsure.read if unsure else count
    if read < handle.job.total:
        say(
            f"Job {job_id} has not finished: {read:,} of "
            f"{counted(handle.job.total, 'record')} so far."
        )
    if unsure:
        where = f" in {path}" if path else ""
        say(f"{count:,} of {counted(read, 'record')}{where}: those with a score below {below:g}.")
        if unsure.failed:
            failed = counted(unsure.failed, "failed image has", "failed images have")
            say(f"{failed} no score, and no record here.")
        if path and count and suffix in FILLED_IN:
            say(f"Fill in `label`, and `producer label {job_id} {path}` takes it back.")
    elif path:
        say(f"{counted(count, 'record')} in {path}.")


@cli.command()
@click.argument("job_id", metavar="JOB")
@as_json
def report(job_id: str, *, json_: bool) -> None:
    """Sum JOB up again, and write its report.html.

    The page lies in the folder of the job, to be looked at and passed on. It shows the most
    confident mistakes, the least sure predictions and some images of each class, and tells
    accuracy, confusion, calibration, errors, drift against the model's test images, and where the
    time went. Its warnings are printed, too.
    """
    handle = client().job(job_id)
    with waiting_for("Reading the results"):
        report = handle.write_report()
    say(f"Wrote {report.path}.")
    show(
        handle,
        report.tally,
        json_,
        timeline=report.timeline,
        warnings=report.warnings,
        one_by_one=False,
    )


@cli.command()
@click.argument("job_id", metavar="JOB")
@click.argument("file", metavar="FILE")
def label(job_id: str, file: str) -> None:
    """Keep the true labels of images of JOB.

    Its accuracy counts with them, and `trainer data append` takes them for the next training.

    FILE is a .csv, .tsv or .jsonl file with `id`, as in the records of the job, and `label`. Lines
    without a label are passed over; a later file wins over an earlier one.
    """
    handle = client().job(job_id)
    done = handle.label(Path(file))
    for note in done.notes:
        say(note)
    labels = counted(done.total, "label")
    say(f"Job {job_id}: {labels}, {done.new:,} new, {done.changed:,} changed.")
    if done.empty:
        lines = counted(done.empty, "line has", "lines have")
        say(f"{lines} no label, and nothing came of {'it' if done.empty == 1 else 'them'}.")
    dataset = handle.dataset() or "NAME"
    say(f"`producer report {job_id}` counts with them.")
    say(f"`trainer data append {dataset} job:{job_id}` adds these images to a data set.")


@cli.command("jobs")
@as_json
def list_jobs(*, json_: bool) -> None:
    """List all jobs, the newest first."""
    from producer.terminal import show_jobs

    faults: list[str] = []
    with waiting_for("Reading the jobs"):
        listed = client().overview(on_fault=faults.append)
    for fault in faults:
        say(fault)
    if json_:
        print_json([entry.model_dump(mode="json") for entry in listed])
    elif listed or not faults:
        show_jobs(listed)


@cli.command()
@click.argument("job_id", metavar="JOB")
def cancel(job_id: str) -> None:
    """Stop JOB within a batch. What is done stays readable; `resume` takes it up again."""
    handle = client().job(job_id)
    if handle.cancel():
        say(f"Job {job_id} is cancelled; `producer resume {job_id}` takes it up again.")
    else:
        end = handle.end()
        say(f"Job {job_id} has ended already{f': it is {end.status}' if end else ''}.")


@cli.command()
@click.argument("job_id", metavar="JOB")
@click.option(
    "--failed-only", is_flag=True, help="Try the failed images of a finished job once more."
)
@click.option("--wait/--no-wait", default=True, help="Follow the job to its end (the default).")
@as_json
def resume(job_id: str, *, failed_only: bool, wait: bool, json_: bool) -> None:
    """Take JOB up again.

    What is missing, cancelled, damaged or lost is sent to the workers.
    """
    handle = client().job(job_id)
    done = handle.resume(failed_only=failed_only)
    if done.damaged:
        results = counted(done.damaged, "damaged result is", "damaged results are")
        say(f"{results} computed again.")
    if done.doubtful:
        batches = counted(done.doubtful, "batch is", "batches are")
        say(f"{batches} computed again: there were two different outcomes.")
    batches = counted(handle.job.batches, "batch", "batches")
    say(f"Job {job_id}: {done.missing:,} of {batches} to do.")
    if wait:
        follow(handle, json_)
    elif json_:
        print_summary(handle.summary())


@cli.command()
@click.argument("job_id", metavar="JOB")
def verify(job_id: str) -> None:
    """Read all of JOB again: model, inputs, results and records. Faults go to stdout."""
    handle = client().job(job_id)
    with waiting_for("Reading all of the job"):
        faults = list(handle.faults())
    for fault in faults:
        click.echo(fault)
    done = len(handle.stored.results.done())
    batches = counted(handle.job.batches, "batch", "batches")
    found = counted(len(faults), "fault") if faults else "no faults"
    say(f"{done:,} of {batches} read, {found} found.")
    if repeated := handle.stored.repeated():
        batches = counted(repeated, "batch was", "batches were")
        say(f"{batches} computed more than once, with the same outcome.")
    if faults:
        click.get_current_context().exit(FAULTS_FOUND)


@cli.command()
@click.option("--older-than", required=True, metavar="AGE", help="Such as 30d, 12h or 45m.")
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
def prune(*, older_than: str, dry_run: bool) -> None:
    """Remove jobs that ended longer than AGE ago.

    Their inputs and results go with them. Predictions kept for --reuse go as well when they are
    older or their model is gone.
    """
    age = parse_age(older_than)
    told: list[str] = []
    with waiting_for("Looking for what is older"):
        pruned = client().prune(age, dry_run=dry_run, on_fault=told.append)
    for fault in told:
        say(fault)
    for entry in pruned:
        click.echo(entry.name)
    megabytes = sum(entry.bytes for entry in pruned) / 1e6
    would = "would be removed" if dry_run else "removed"
    removed = counted(len(pruned), "job, draft or reuse folder", "jobs, drafts and reuse folders")
    say(f"{removed} {would}, {megabytes:,.1f} MB.")


def parse_age(text: str) -> timedelta:
    """Read an age such as `30d`."""
    units = {"d": "days", "h": "hours", "m": "minutes"}
    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or unit not in units or len(number) > 6:
        raise click.BadParameter(f"{text!r} is no age: write 30d, 12h or 45m.", param_hint="AGE")
    age = timedelta(**{units[unit]: int(number)})
    if age > LONGEST_AGE:
        raise click.BadParameter(f"{text} is over a hundred years.", param_hint="AGE")
    return age


@cli.command()
@as_json
def doctor(*, json_: bool) -> None:
    """Check the system, and name what is wrong and how to fix it."""
    from producer.doctor.command import run_doctor

    click.get_current_context().exit(run_doctor(as_json=json_))


def follow(handle: "JobHandle", json_: bool) -> None:
    """Wait for a job, show what it came to and exit accordingly."""
    from producer.terminal import show_progress

    if handle.unsent:
        say(str(handle.unsent))
    with interruptible(handle.stored.folder, handle.id):
        tally = show_progress(handle.job, handle.watch())
    show(handle, tally, json_)


@contextmanager
def interruptible(folder: Path, job_id: str) -> Iterator[None]:
    """Let Ctrl-C end the command; where the job exists by then, say how to return to it."""
    try:
        yield
    except KeyboardInterrupt:
        if not folder.exists():
            raise
        say(f"Job {job_id} goes on: `producer status {job_id} --follow` returns to it.")
        raise click.exceptions.Exit(INTERRUPTED) from None


def show(
    handle: "JobHandle",
    tally: "Tally",
    json_: bool,
    *,
    timeline: "Timeline | None" = None,
    warnings: tuple[str, ...] | None = None,
    one_by_one: bool = True,
) -> None:
    """Print what a job came to so far, of a small one each answer, and exit accordingly."""
    from producer.results.records import read_records
    from producer.results.summary import summarise
    from producer.terminal import (
        MOST_ANSWERS,
        show_answers,
        show_classes,
        show_counts,
        show_summary,
    )

    summary = summarise(handle.stored, tally, timeline=timeline, warnings=warnings)
    if json_:
        print_summary(summary)
        if summary.reason:
            say(summary.reason)
    else:
        show_summary(summary)
        if one_by_one and handle.job.total <= MOST_ANSWERS:
            show_answers([record for table in handle.records() for record in read_records(table)])
        else:
            show_counts(handle.job.labels, tally.by_class.tolist())
            if summary.accuracy is not None:
                show_classes(tally.evaluation)
    over_limit = handle.job.excess(tally.failed) is not None
    click.get_current_context().exit(exit_code(summary, over_limit))


def exit_code(summary: "Summary", over_limit: bool) -> int:
    """The exit code for a job; 0 for one that goes on."""
    if summary.status == "failed" and over_limit:
        return OVER_FAILURE_LIMIT
    if summary.status in ("failed", "cancelled"):
        return FAILED
    if summary.status == "completed" and summary.images.failed:
        return RECORD_ERRORS
    return 0


def print_summary(summary: "Summary") -> None:
    """Print a summary as the one object of `--json`."""
    optional = {
        "reason",
        "reused",
        "hit_rate",
        "labelled_later",
        "passed_over",
        "top",
        "top_accuracy",
    }
    optional |= {"notes", "label_order", "timeline", "warnings"}
    unasked = {name for name in optional if getattr(summary, name) is None}
    print_json(summary.model_dump(mode="json", exclude=unasked))


def main() -> None:
    """Run the command as a program of its own, which is set up for a short life."""
    from process.heavy_imports import hidden

    # Arrow's own allocators keep what they once had; a producer's memory is to stay level.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    # What is collected while importing, and at the end, is a fifth of its start.
    gc.set_threshold(1_000_000)
    atexit.register(gc.freeze)
    # NumPy's import starts threads for linear algebra, of which there is none here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Arrow would import pandas for its first array, kombu YAML for messages that nobody sends.
    with hidden("pandas", "yaml"):
        cli()


if __name__ == "__main__":
    main()
