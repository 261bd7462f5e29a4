"""Images with what was said of them, in a grid."""

from collections.abc import Iterable

from producer.report.formatting import fraction, have_long_names, name
from producer.report.html import Markup, element
from producer.report.pictures import Pictures
from producer.report.statistics.shown_image import ShownImage
from storage.jobs.inputs import UNLABELLED
from storage.jobs.job import Job

LONGEST_ON_CARD = 18


def cards(job: Job, images: Iterable[ShownImage], pictures: Pictures) -> Markup:
    items = (card(job, image, pictures) for image in images)
    kind = "pictures" if have_long_names(job.labels) else "pictures narrow"
    return element("ul", *items, class_=kind)


def card(job: Job, image: ShownImage, pictures: Pictures) -> Markup:
    """One image, if it can still be had, and what was said of it."""

    def label(position: int) -> Markup:
        return name(job.labels[position], LONGEST_ON_CARD)

    known = image.actual != UNLABELLED
    told = (
        element("span", "predicted ", element("b", label(image.predicted))),
        element("span", "actual ", label(image.actual)) if known else "",
        element("span", f"score {fraction(image.score)}", class_="faint"),
        *(
            element("span", "then ", label(i), f" {fraction(score)}", class_="faint")
            for i, score in image.runners_up
        ),
        element("span", "image ", name(image.image_id, LONGEST_ON_CARD), class_="faint"),
    )
    return element(
        "li",
        pictures.of(image.position, image.image_id),
        element("div", *told),
        class_="mistake" if image.is_mistake else None,
    )
