"""The report of a job: one HTML file.

It holds no script, and nothing of the moment it was made: the same job gives the same bytes.
"""

from dataclasses import dataclass
from pathlib import Path

from producer.report.header import facts, headline, tiles, warning_list
from producer.report.html import element
from producer.report.html_document import page, section
from producer.report.pictures import Pictures
from producer.report.sections.classes import class_section
from producer.report.sections.confusion import confusion_section
from producer.report.sections.drift import drift_section
from producer.report.sections.errors import error_section
from producer.report.sections.examples import example_section
from producer.report.sections.mistakes import mistake_section
from producer.report.sections.origin import origin_section
from producer.report.sections.scores import score_section
from producer.report.sections.time import time_section
from producer.report.sections.unsure import unsure_section
from producer.report.statistics.job_statistics import analyse
from producer.report.warnings import warn
from producer.results.summary import REPORT_FILE, summarise
from producer.results.timeline import Timeline, trace
from storage.errors import Corrupt, NotFound
from storage.files import write_atomically
from storage.jobs.job import Job
from storage.jobs.stored_job import StoredJob
from storage.jobs.tally import Tally
from storage.models.store import Manifest, ModelStore
from storage.settings import StorageSettings


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report, where it is kept, and what was found for it."""

    html: bytes
    path: Path
    tally: Tally
    timeline: Timeline | None
    warnings: tuple[str, ...]
    """What its head warns of, a text each."""


def write_report(stored: StoredJob, models: ModelStore, settings: StorageSettings) -> Report:
    """Write the report of a job into its folder, as far as the job is; merge a completed one.

    Raises what `make_report` raises.
    """
    report = make_report(stored, models, settings)
    write_atomically(report.path, report.html)
    return report


def make_report(
    stored: StoredJob, models: ModelStore, settings: StorageSettings, *, keep: bool = True
) -> Report:
    """The same report before it is written. Without `keep` storage is read and nothing else.

    Raises `DamagedResult` when a result cannot be read, `Corrupt` when labels given later cannot.
    """
    job = stored.job
    manifest = find_manifest(models, job)
    statistics = analyse(stored, manifest, settings, keep=keep)
    timeline = trace(stored)
    tally = statistics.tally
    summary = summarise(stored, tally)
    cautions = list(warn(job, summary, statistics, manifest))
    pictures = Pictures(stored, manifest, settings)
    parts = {
        "Classes": class_section(job, summary, statistics, manifest),
        "Confusion": confusion_section(tally.evaluation),
        "Mistakes": mistake_section(job, statistics, pictures),
        "Unsure": unsure_section(job, statistics, pictures),
        "Examples": example_section(job, statistics, pictures),
        "Errors": error_section(statistics, pictures),
        "Scores": score_section(summary, statistics),
        "Drift": drift_section(job, statistics, manifest),
        "Time": time_section(timeline),
        "Origin": origin_section(job, manifest),
    }
    shown = {title: content for title, content in parts.items() if content}
    header = element(
        "header",
        headline(job, summary),
        tiles(summary, tally.evaluation),
        facts(job, summary, manifest),
        warning_list(cautions),
        element(
            "nav",
            *(element("a", title, href=f"#{title.lower()}") for title in shown),
            aria_label="Sections",
        ),
    )
    body = element("main", header, *(section(*part) for part in shown.items()))
    plain = tuple(" ".join(caution).replace("\N{NO-BREAK SPACE}", " ") for caution in cautions)
    return Report(
        html=page(f"Job {job.id}", body).encode(),
        path=stored.folder / REPORT_FILE,
        tally=tally,
        timeline=timeline,
        warnings=plain,
    )


def find_manifest(models: ModelStore, job: Job) -> Manifest | None:
    """What is known of the job's model; none when it has gone meanwhile, or is another."""
    try:
        manifest = models.version(job.model.name, job.model.number).manifest
    except (NotFound, Corrupt):
        return None
    return manifest if job.model.sha256 in manifest.digests.values() else None
