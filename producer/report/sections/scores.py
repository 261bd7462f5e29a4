"""How sure the model is, and whether rightly so."""

from evaluation.calibration import BINS
from producer.report import charts
from producer.report.formatting import fraction, percent
from producer.report.html import Markup, element, join
from producer.report.html_tables import table
from producer.report.statistics.job_statistics import Statistics
from producer.results.summary import Summary


def score_section(summary: Summary, statistics: Statistics) -> Markup:
    if not statistics.scores.all.any():
        return Markup()
    histogram = element(
        "figure",
        element("figcaption", "Scores, as a share of each kind of prediction"),
        charts.score_chart(statistics.scores),
    )
    calibration = statistics.scores.calibration
    bins = calibration.bins
    if not bins:
        return element("div", histogram, class_="charts")
    whose = "The scores"
    if summary.is_no_sample:
        whose = f"Over the {summary.labelled:,} labelled images, no sample of the others, scores"
    said = (
        f"{whose} promise {percent(calibration.confidence)} right answers, "
        f"{percent(calibration.accuracy)} are right. The expected calibration error is "
        f"{fraction(calibration.error)}, over {BINS} bins of scores."
    )
    diagram = element(
        "figure",
        element(
            "figcaption",
            "Accuracy by score. Where bars end on the dashed line, the model is as sure as it is "
            "right; the thin lines are 95 % intervals",
        ),
        charts.reliability_chart(bins),
    )
    numbers = table(
        "Labelled predictions by score",
        ["score", "images", "mean score", "accuracy"],
        [
            [
                f"{b.low:.1f} to {b.high:.1f}",
                f"{b.images:,}",
                fraction(b.score),
                percent(b.accuracy),
            ]
            for b in bins
        ],
    )
    return join(
        element("p", said),
        element("div", diagram, histogram, class_="charts"),
        element("details", element("summary", "The same in numbers"), numbers),
    )
