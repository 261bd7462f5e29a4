"""The job beside the images that its model was tested with."""

from evaluation.class_table import MOST_CLASS_ROWS
from evaluation.drift import SMALLEST_DRIFT, Comparison
from producer.report import charts
from producer.report.formatting import fraction
from producer.report.html import Markup, element, join
from producer.report.html_tables import table
from producer.report.statistics.job_statistics import Statistics
from storage.jobs.job import Job
from storage.models.store import Manifest


def drift_section(job: Job, statistics: Statistics, manifest: Manifest | None) -> Markup:
    if manifest is None:
        said = f"Model {job.model} is no longer there: its test cannot be compared with."
        return element("p", said)
    if statistics.drift is None:
        said = f"Model {job.model} has no baseline: it was trained elsewhere, or long ago."
        return element("p", said)
    if not statistics.drift:
        return Markup()
    said = (
        "The job (bars) beside the images the model was tested with (marks). The distance is the "
        "share of the images that would have to change their bin to make both equal. Drift is "
        f"what is more than {SMALLEST_DRIFT} and more than chance explains."
    )
    drifted = [i for i, comparison in enumerate(statistics.drift) if comparison.drifted]
    head = ["figure", "distance", "by chance", "drift", "share by bin", "images"]
    rows = [drift_row(comparison) for comparison in statistics.drift]
    caption = "Comparison with the model's test"
    return join(element("p", said), table(caption, head, rows, bad=drifted))


def drift_row(comparison: Comparison) -> list[str]:
    """One figure; of very many classes there is no chart."""
    readable = len(comparison.found) <= MOST_CLASS_ROWS
    chart = charts.comparison_chart(comparison.expected, comparison.found)
    return [
        comparison.feature,
        fraction(comparison.distance),
        fraction(comparison.chance),
        element("span", "yes" if comparison.drifted else "no", class_="verdict"),
        chart if readable else Markup(),
        f"{comparison.images:,}",
    ]
