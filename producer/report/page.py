"""The report of a job: one HTML file with everything in it, for a browser without a network.

It holds no script, and nothing of the moment it was made: the same job gives the same bytes.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from evaluation.confusion import Evaluation
from evaluation.significance import wilson_interval
from producer.report import sections
from producer.report.analysis import inspect
from producer.report.elements import LONGEST_NOTE, definitions, moment, name, percent
from producer.report.html import Markup, element, join
from producer.report.warnings import warn
from producer.results.summary import REPORT_FILE, Summary, summarise
from producer.results.timeline import trace
from storage.datasets.store import version_at
from storage.errors import Corrupt, NotFound
from storage.files import write_atomically
from storage.jobs.inputs import ArrayInputs
from storage.jobs.store import Job, JobStore, Status
from storage.models.store import Manifest, ModelStore
from storage.settings import StorageSettings

STYLE = Path(__file__).with_name("report.css")


def write_report(store: JobStore, models: ModelStore, job: Job, settings: StorageSettings) -> Path:
    """Write the report of a job into its folder, as far as the job is, and return its path.

    Raises `DamagedResult` when a result cannot be read, `Corrupt` when labels given later cannot.
    """
    manifest = find_manifest(models, job)
    findings = inspect(store, job, manifest, settings)
    timeline = trace(store, job)
    summary = summarise(store, job, findings.tally)
    warnings = list(warn(job, summary, findings, manifest))
    evaluation = findings.tally.evaluation
    mistakes = sections.mistake_section(store, job, findings, manifest, settings)
    parts = {
        "Classes": sections.class_section(job, findings, manifest),
        "Confusion": sections.confusion_section(evaluation),
        "Scores": sections.score_section(findings),
        "Mistakes": mistakes,
        "Errors": sections.error_section(findings),
        "Drift": sections.drift_section(job, findings, manifest),
        "Time": sections.time_section(timeline),
        "Origin": sections.origin_section(job, manifest),
    }
    shown = {title: content for title, content in parts.items() if content}
    header = element(
        "header",
        headline(job, summary),
        tiles(summary, evaluation),
        facts(job, summary, manifest),
        warning_list(warnings),
        element(
            "nav",
            *(element("a", title, href=f"#{title.lower()}") for title in shown),
            aria_label="Sections",
        ),
    )
    path = store.path(job.id) / REPORT_FILE
    body = element("main", header, *(section(*part) for part in shown.items()))
    write_atomically(path, page(f"Job {job.id}", body).encode())
    return path


def find_manifest(models: ModelStore, job: Job) -> Manifest | None:
    """What is known of the job's model; none when it has gone meanwhile, or is another."""
    try:
        manifest = models.version(job.model.name, job.model.number).manifest
    except (NotFound, Corrupt):
        return None
    return manifest if manifest.sha256 == job.model.sha256 else None


def page(title: str, body: Markup) -> str:
    """A whole document. The browser may load nothing and run nothing, whatever gets into it."""
    style = STYLE.read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        element("style", Markup(style)),
    )
    return f"<!doctype html>\n{element('html', head, element('body', body), lang='en')}\n"


def section(title: str, content: Markup) -> Markup:
    """One section under its heading."""
    anchor = title.lower()
    heading = element("h2", title, id=f"{anchor}-title")
    return element("section", heading, content, id=anchor, aria_labelledby=f"{anchor}-title")


def headline(job: Job, summary: Summary) -> Markup:
    """Which job this is and what has become of it."""
    bad = summary.status in (Status.FAILED, Status.CANCELLED)
    status = element("span", summary.status, class_="status bad" if bad else "status")
    said = join(name(job.source), " classified by ", name(str(job.model)))
    return join(element("h1", "Job ", name(job.id), " ", status), element("p", said))


def tiles(summary: Summary, evaluation: Evaluation) -> Markup:
    """The metrics that everybody asks for first."""
    images = summary.images
    done = images.predicted + images.failed
    accuracy = tile("Accuracy", "unknown", "no image has a label and a prediction")
    if summary.accuracy is not None:
        low, high = wilson_interval(int(evaluation.matrix.trace()), evaluation.count)
        interval = f"95 % interval {100 * low:.2f} to {percent(high)}"
        accuracy = tile("Accuracy", percent(summary.accuracy), interval)
    found = [
        accuracy,
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
    """One figure, large."""
    told = element("dd", figure, element("small", note))
    return element("div", element("dt", title), told, class_="bad" if bad else None)


def facts(job: Job, summary: Summary, manifest: Manifest | None) -> Markup:
    """Model, data set and times, line by line."""
    source = name(job.source)
    if isinstance(job.inputs, ArrayInputs) and (version := version_at(job.inputs.images)):
        source = join(source, ", data set ", name(version))
    rows: list[tuple[str, str]] = [("Source", source), ("Model", name(str(job.model)))]
    if manifest:
        tested = "never tested"
        if manifest.accuracy is not None:
            tested = f"test accuracy {percent(manifest.accuracy)}"
        rows[1] = ("Model", join(rows[1][1], f", network {manifest.network}, {tested}"))
        if manifest.dataset is not None:
            data = name(f"{manifest.dataset}@{manifest.dataset_number}")
            rows.append((sections.use_of_data(manifest), join("data set ", data)))
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
