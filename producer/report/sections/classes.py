"""The classes of a job: how well each is recognised, or how often it was predicted."""

from collections.abc import Iterable

import numpy as np

from console.counts import counted
from evaluation.class_table import MOST_CLASS_ROWS
from evaluation.confusion import ClassScore, Evaluation
from producer.report import charts
from producer.report.formatting import DASH, name
from producer.report.html import Markup, element, join
from producer.report.html_tables import table
from producer.report.statistics.job_statistics import Statistics
from storage.jobs.job import Job
from storage.models.store import Manifest

MOST_LISTED = 5_000
"""Classes of which each has a line: a thousand take 150 kB."""


def class_section(job: Job, statistics: Statistics, manifest: Manifest | None) -> Markup:
    """Metrics by class where labels are known, else how often each class was predicted."""
    if statistics.tally.evaluation.count:
        return class_table(statistics.tally.evaluation)
    if statistics.classes.any():
        return class_mix(job, statistics, manifest)
    return Markup()


def class_table(evaluation: Evaluation) -> Markup:
    """Precision, recall and F1; of very many classes those with the lowest F1."""
    predicted = evaluation.matrix.sum(axis=0).tolist()
    pairs = zip(evaluation.per_class(), predicted, strict=True)
    rows = [(score, count) for score, count in pairs if score.support or count]
    said = f"Over {counted(evaluation.count, 'image')} with a label and a prediction."
    if len(rows) < len(evaluation.labels):
        said += f" Of {len(evaluation.labels):,} classes {len(rows):,} occur."
    head = ["class", "precision", "recall", "F1", "", "images", "predicted"]
    if len(rows) <= MOST_CLASS_ROWS:
        return table(said, head, [class_row(*row) for row in rows], class_="by-class")
    said += f" Shown are the {MOST_CLASS_ROWS} with the lowest F1."
    worst = sorted(rows, key=lambda row: row[0].f1)[:MOST_CLASS_ROWS]
    return join(
        table(said, head, [class_row(*row) for row in worst], class_="by-class"),
        all_classes(head, [class_row(*row) for row in rows], chart=4),
    )


def all_classes(head: list[str], rows: Iterable[list[str]], *, chart: int) -> Markup:
    """Every class by name, folded away: browsers find words in it and then unfold it.

    The column `chart` is left out.
    """
    ordered = sorted(row[:chart] + row[chart + 1 :] for row in rows)
    if len(ordered) > MOST_LISTED:
        return Markup()
    title = f"All {len(ordered):,} classes by name; the browser's search finds one"
    head = head[:chart] + head[chart + 1 :]
    return element("details", element("summary", title), table("", head, ordered))


def class_row(score: ClassScore, predicted: int) -> list[str]:
    """One class; a figure without a denominator is a dash."""
    return [
        name(score.label),
        f"{score.precision:.4f}" if predicted else DASH,
        f"{score.recall:.4f}" if score.support else DASH,
        f"{score.f1:.4f}",
        charts.bar(score.f1),
        f"{score.support:,}",
        f"{predicted:,}",
    ]


def class_mix(job: Job, statistics: Statistics, manifest: Manifest | None) -> Markup:
    """How often each class was predicted, beside the model's test."""
    counts = statistics.classes
    shares = counts / counts.sum()
    highest = float(shares.max())
    order = np.arange(len(counts))
    said = "No image has a label: this is how often each class was predicted."
    if len(order) > MOST_CLASS_ROWS:
        order = np.argsort(-counts, kind="stable")[:MOST_CLASS_ROWS]
        said += f" Shown are the {MOST_CLASS_ROWS} commonest of {len(counts):,} classes."
    tested = None
    if manifest and manifest.baseline:
        tested = np.array(manifest.baseline.classes) / max(1, sum(manifest.baseline.classes))
        highest = max(highest, float(tested.max()))
        said += " The mark is its share in the model's test."
    rows = [
        [
            name(job.labels[i]),
            f"{counts[i]:,}",
            f"{shares[i]:.1%}",
            DASH if tested is None else f"{tested[i]:.1%}",
            charts.bar(
                float(shares[i]) / highest,
                mark=None if tested is None else float(tested[i]) / highest,
            ),
        ]
        for i in range(len(counts))
    ]
    head = ["class", "images", "share", "in the test", ""]
    if len(order) == len(rows):
        return table(said, head, rows)
    return join(
        table(said, head, [rows[i] for i in order.tolist()]), all_classes(head, rows, chart=4)
    )
