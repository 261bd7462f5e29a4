"""The images without a prediction, by reason."""

from producer.report.formatting import cut, name
from producer.report.html import Markup, element, join
from producer.report.html_tables import table
from producer.report.statistics.failure_reasons import Reason
from producer.report.statistics.job_statistics import Statistics
from producer.results.records import ERRORS_FILE


def error_section(statistics: Statistics) -> Markup:
    if not statistics.tally.failed:
        return Markup()
    rows = [
        [join(cut(reason.text, 200), first_errors(reason)), f"{reason.count:,}"]
        for reason in statistics.reasons
    ]
    failed = statistics.tally.failed
    images = "1 image has" if failed == 1 else f"{failed:,} images have"
    said = f"{images} no prediction; {ERRORS_FILE} lists them all."
    return table(said, ["reason, and the first of them", "images"], rows, class_="reasons")


def first_errors(reason: Reason) -> Markup:
    """The first images of a reason, with their own words where these differ."""
    items = [
        element("li", name(i), "" if said == reason.text else f": {cut(said, 200)}")
        for i, said in reason.examples
    ]
    return element("ul", *items)
