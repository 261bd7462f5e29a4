"""The classes of a job: how well each is recognised, and how often it was predicted."""

from collections.abc import Iterable, Sequence

import numpy as np

from console.counts import counted
from console.tables import DASH
from evaluation.class_table import MOST_CLASS_ROWS
from evaluation.confusion import ClassScore, Evaluation
from producer.report import charts
from producer.report.formatting import have_long_names, name, percent
from producer.report.html import Markup, element, join
from producer.report.html_tables import table
from producer.report.statistics.job_statistics import Statistics
from producer.results.summary import Summary
from storage.jobs.job import Job
from storage.models.store import Manifest

MOST_LISTED = 5_000
"""Classes of which each has a line: a thousand take 150 kB."""
DRAWN, IN_TEST = "", "predicted in the test"
"""Heads of columns: that of the bars has none."""


def class_section(
    job: Job, summary: Summary, statistics: Statistics, manifest: Manifest | None
) -> Markup:
    """Metrics by class where labels are known, and how often each class was predicted elsewhere."""
    evaluation = statistics.tally.evaluation
    of_labelled, of_all = Markup(), Markup()
    if summary.labelled:
        of_labelled = class_table(evaluation, is_no_sample=summary.is_no_sample)
    if summary.labelled < summary.images.predicted:
        of_all = class_mix(job, statistics, manifest)
    return join(of_labelled, of_all)


def class_table(evaluation: Evaluation, *, is_no_sample: bool) -> Markup:
    """Precision, recall and F1; of very many classes those with the lowest F1."""
    scores = [score for score in evaluation.per_class() if score.support or score.predicted]
    said = f"Over {counted(evaluation.count, 'image')} with a label and a prediction."
    if is_no_sample:
        said += " They are no sample of the others."
    if len(scores) < len(evaluation.labels):
        said += f" Of {len(evaluation.labels):,} classes {len(scores):,} occur."
    head = ["class", "precision", "recall", "F1", DRAWN, "images", "predicted"]
    named = layout(evaluation.labels)
    if len(scores) <= MOST_CLASS_ROWS:
        return table(said, head, map(class_row, scores), class_=f"by-class {named}")
    said += f" Shown are the {MOST_CLASS_ROWS} with the lowest F1."
    worst = sorted(scores, key=lambda score: score.f1)[:MOST_CLASS_ROWS]
    scores.sort(key=lambda score: score.label)
    return join(
        table(said, head, map(class_row, worst), class_=f"by-class {named}"),
        all_classes(head, map(class_row, scores), len(scores), named),
    )


def layout(labels: Sequence[str]) -> str:
    """On a phone, long names stand above the figures of their class."""
    return "named" if have_long_names(labels) else ""


def all_classes(head: Sequence[str], rows: Iterable[list[str]], count: int, named: str) -> Markup:
    """Every class, folded away: browsers find words in it and then unfold it."""
    if count > MOST_LISTED:
        return Markup()
    title = f"All {count:,} classes by name; the browser's search finds one"
    drawn = head.index(DRAWN)
    undrawn = [[*row[:drawn], *row[drawn + 1 :]] for row in (head, *rows)]
    return element(
        "details", element("summary", title), table("", undrawn[0], undrawn[1:], class_=named)
    )


def class_row(score: ClassScore) -> list[str]:
    """One class that occurs; a figure without a denominator is a dash."""
    return [
        name(score.label),
        percent(score.precision) if score.predicted else DASH,
        percent(score.recall) if score.support else DASH,
        percent(score.f1),
        charts.bar(score.f1),
        f"{score.support:,}",
        f"{score.predicted:,}",
    ]


def class_mix(job: Job, statistics: Statistics, manifest: Manifest | None) -> Markup:
    """How often each class was predicted, here and in the model's test."""
    counts = statistics.classes
    shares = counts / counts.sum()
    every = range(len(counts))
    said = f"How often each class was predicted, over {counted(int(counts.sum()), 'image')}."
    tested = None
    if manifest and manifest.baseline:
        tested = np.array(manifest.baseline.classes) / max(1, sum(manifest.baseline.classes))
        said += " The mark is how often in the model's test."

    def row(i: int) -> list[str]:
        figures = [name(job.labels[i]), f"{counts[i]:,}", percent(shares[i])]
        if tested is None:
            return [*figures, charts.bar(float(shares[i]))]
        return [*figures, percent(tested[i]), charts.bar(float(shares[i]), mark=float(tested[i]))]

    head = ["class", "predicted", "share", *([] if tested is None else [IN_TEST]), DRAWN]
    named = layout(job.labels)
    if len(counts) <= MOST_CLASS_ROWS:
        return table(said, head, map(row, every), class_=named)
    said += f" Shown are the {MOST_CLASS_ROWS} commonest of {len(counts):,} classes."
    commonest = np.argsort(-counts, kind="stable")[:MOST_CLASS_ROWS].tolist()
    by_name = sorted(every, key=lambda i: job.labels[i])
    return join(
        table(said, head, map(row, commonest), class_=named),
        all_classes(head, map(row, by_name), len(by_name), named),
    )
