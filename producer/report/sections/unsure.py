"""The predictions that the model was least sure of, as pictures."""

from producer.report.cards import cards
from producer.report.html import Markup, element, join
from producer.report.pictures import Pictures
from producer.report.statistics.job_statistics import Statistics
from storage.jobs.job import Job


def unsure_section(job: Job, statistics: Statistics, pictures: Pictures) -> Markup:
    found = statistics.least_sure
    if not found or not pictures:
        return Markup()
    shown = cards(job, found, pictures)
    said = (
        f"{len(found)} of {statistics.tally.predicted:,} predictions, those of the lowest scores, "
        f"{pictures.told}. For a table of such images to check and label: "
    )
    command = element("code", f"producer results {job.id} --below 0.9 -o check.csv")
    return join(element("p", said, command), shown)
