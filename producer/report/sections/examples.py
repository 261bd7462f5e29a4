"""Some images of each predicted class."""

import numpy as np

from console.counts import counted
from producer.report.formatting import LONGEST_NOTE, cut, have_long_names, name, percent
from producer.report.html import Markup, element, join
from producer.report.pictures import Pictures
from producer.report.statistics.job_statistics import Statistics
from storage.jobs.job import Job

MOST_CLASSES = 20


def example_section(job: Job, statistics: Statistics, pictures: Pictures) -> Markup:
    counts = statistics.classes
    predicted = int((counts > 0).sum())
    commonest = np.argsort(-counts, kind="stable")[: min(predicted, MOST_CLASSES)].tolist()
    rows = [
        element(
            "li",
            element(
                "div",
                element("b", name(job.labels[i])),
                element(
                    "span",
                    f"{counts[i]:,} predicted, {percent(counts[i] / counts.sum())}",
                    class_="faint",
                ),
            ),
            *(
                element("span", pictures.of(position, image), title=cut(image, LONGEST_NOTE))
                for position, image in statistics.examples.of(i)
            ),
        )
        for i in commonest
    ]
    if not pictures.any_had:
        return Markup()
    said = f"Some images of each of {counted(predicted, 'predicted class', 'predicted classes')}"
    if predicted > MOST_CLASSES:
        said = f"Some images of the {MOST_CLASSES} commonest of {predicted:,} predicted classes"
    said += ", from all over the job, as the model saw them; pointed at, each tells its name."
    kind = "examples" if have_long_names(job.labels) else "examples narrow"
    return join(element("p", said), element("ul", *rows, class_=kind))
