"""The head of the report: which job it is, what it came to and what must not be overlooked."""

from collections.abc import Sequence

from evaluation.confusion import Evaluation
from evaluation.significance import wilson_interval
from producer.report.formatting import LONGEST_NOTE, moment, name, percent
from producer.report.html import Markup, element, join
from producer.report.html_tables import definitions
from producer.report.sections.origin import use_of_data
from producer.results.summary import Summary
from storage.datasets.store import version_at
from storage.jobs.job import Job, Status
from storage.models.store import Manifest

LONGEST_SOURCE = 80


def headline(job: Job, summary: Summary) -> Markup:
    """Which job this is and what has become of it."""
    bad = summary.status in (Status.FAILED, Status.CANCELLED)
    status = element("span", summary.status, class_="status bad" if bad else "status")
    said = join(name(job.source, LONGEST_SOURCE), " classified by ", name(str(job.model)))
    return join(element("h1", "Job ", name(job.id), " ", status), element("p", said))


def tiles(summary: Summary, evaluation: Evaluation) -> Markup:
    """The metrics that everybody asks for first."""
    images = summary.images
    done = images.predicted + images.failed
    accuracy = tile("Accuracy", "unknown", "no image has a label and a prediction")
    if summary.accuracy is not None and summary.is_no_sample:
        others = images.predicted - summary.labelled
        told = f"of the {summary.labelled:,} labelled, which are no sample of the other {others:,}"
        accuracy = tile(f"Accuracy of {summary.labelled:,}", percent(summary.accuracy), told)
    elif summary.accuracy is not None:
        low, high = wilson_interval(int(evaluation.matrix.trace()), evaluation.count)
        interval = f"95 % interval {100 * low:.2f} to {percent(high)}"
        accuracy = tile("Accuracy", percent(summary.accuracy), interval)
    found = [accuracy]
    if summary.top_accuracy is not None:
        told = f"the label is among the {summary.top} likeliest classes"
        if summary.is_no_sample:
            told += f", of the {summary.labelled:,} labelled"
        found.append(tile(f"Top {summary.top}", percent(summary.top_accuracy), told))
    found += [
        tile(
            "Images", f"{images.total:,}", f"{done:,} done" if done < images.total else "all done"
        ),
        tile(
            "Failed",
            f"{images.failed:,}",
            f"{percent(images.failed / done)} of those done"
            if images.failed
            else "no error record",
            bad=images.failed > 0,
        ),
    ]
    if summary.images_per_second is not None and summary.completed_at is not None:
        seconds = (summary.completed_at - summary.created_at).total_seconds()
        rate = f"{summary.images_per_second:,.0f}/s"
        found.append(tile("Throughput", rate, f"{seconds:,.1f} s from submission to last result"))
    if summary.hit_rate is not None:
        taken = f"{summary.reused:,} predictions not computed again"
        found.append(tile("Reused", percent(summary.hit_rate), taken))
    return element("dl", *found, class_="tiles")


def tile(title: str, figure: str, note: str, *, bad: bool = False) -> Markup:
    told = element("dd", figure, element("small", note))
    return element("div", element("dt", title), told, class_="bad" if bad else None)


def facts(job: Job, summary: Summary, manifest: Manifest | None) -> Markup:
    """Model, data set and times, line by line."""
    source = name(job.source, LONGEST_SOURCE)
    if job.array and (version := version_at(job.array.images)):
        source = join(source, ", data set ", name(version))
    rows: list[tuple[str, str]] = [("Source", source), ("Model", name(str(job.model)))]
    if manifest:
        tested = "never tested"
        if manifest.accuracy is not None:
            tested = f"test accuracy {percent(manifest.accuracy)}"
        rows[1] = ("Model", join(rows[1][1], f", network {manifest.network}, {tested}"))
        if manifest.dataset is not None:
            data = name(f"{manifest.dataset}@{manifest.dataset_number}")
            rows.append((use_of_data(manifest), join("data set ", data)))
    if summary.labelled_later is not None:
        given = f"{summary.labelled_later:,} given after the submission, which count here"
        rows.append(("Labels", given))
    rows += (("Note", name(note, LONGEST_NOTE)) for note in job.notes)
    rows.append(("Submitted", moment(summary.created_at)))
    if summary.completed_at:
        rows.append(("Ended", moment(summary.completed_at)))
    return definitions(rows)


def warning_list(warnings: Sequence[tuple[str, str]]) -> Markup:
    """The warnings, or that there are none."""
    if not warnings:
        return element("p", "No warnings.", class_="calm")
    items = (element("li", element("strong", title), " ", said) for title, said in warnings)
    return element("ul", *items, class_="warnings", aria_label="Warnings")
