"""The images without a prediction, by reason."""

from producer.report.formatting import cut, name
from producer.report.html import Markup, element, join
from producer.report.html_tables import table
from producer.report.pictures import Pictures
from producer.report.statistics.failure_reasons import Reason
from producer.report.statistics.job_statistics import Statistics
from producer.results.records import ERRORS_FILE

MOST_SEEN = 8
"""Reasons whose first images are shown, as far as there is anything to be seen."""


def error_section(statistics: Statistics, pictures: Pictures) -> Markup:
    if not statistics.tally.failed:
        return Markup()
    rows = [
        [
            join(cut(reason.text, 200), first_errors(reason, pictures if i < MOST_SEEN else None)),
            f"{reason.count:,}",
        ]
        for i, reason in enumerate(statistics.reasons)
    ]
    failed = statistics.tally.failed
    images = "1 image has" if failed == 1 else f"{failed:,} images have"
    said = f"{images} no prediction; {ERRORS_FILE} lists them all."
    return table(said, ["reason, and the first of them", "images"], rows, class_="reasons")


def first_errors(reason: Reason, pictures: Pictures | None) -> Markup:
    """The first images of a reason, with their own words where these differ."""
    items = [
        element(
            "li",
            pictures.of_failed(failed.position, failed.image_id) if pictures else "",
            element(
                "div",
                name(failed.image_id),
                "" if failed.reason == reason.text else f": {cut(failed.reason, 200)}",
            ),
        )
        for failed in reason.examples
    ]
    return element("ul", *items)
