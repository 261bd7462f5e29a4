"""The wrong predictions that the model was surest of, as pictures."""

from producer.report.cards import cards
from producer.report.html import Markup, element, join
from producer.report.pictures import Pictures
from producer.report.statistics.job_statistics import Statistics
from storage.jobs.job import Job


def mistake_section(job: Job, statistics: Statistics, pictures: Pictures) -> Markup:
    if not statistics.tally.evaluation.count:
        return Markup()
    if not statistics.mistakes:
        return element("p", "There are no mistakes.")
    wrong = int(statistics.scores.wrong.sum())
    shown = cards(job, statistics.mistakes, pictures)
    said = (
        f"{len(statistics.mistakes)} of {wrong:,} mistakes, those of the highest scores, "
        f"{pictures.told}. An image with a wrong label would stand here, too."
    )
    return join(element("p", said), shown)
