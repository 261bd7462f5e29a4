"""The wrong predictions that the model was surest of, as pictures."""

import base64
import io

from PIL import Image

from imaging.images import Pixels
from producer.report.formatting import fraction, name, shortened
from producer.report.html import Markup, element, join
from producer.report.statistics.job_statistics import Statistics
from producer.report.statistics.mistakes import Mistake
from storage.jobs.batches import JobImages
from storage.jobs.job import Job
from storage.jobs.stored_job import StoredJob
from storage.models.store import Manifest
from storage.settings import StorageSettings

LARGEST_PICTURE = 96
"""Pixels per side; larger images are shown smaller."""


def mistake_section(
    stored: StoredJob,
    statistics: Statistics,
    manifest: Manifest | None,
    settings: StorageSettings,
) -> Markup:
    job = stored.job
    if not statistics.tally.evaluation.count:
        return Markup()
    if not statistics.mistakes:
        return element("p", "There are no mistakes.")
    pictures = None
    if manifest:
        pictures = JobImages(stored, manifest.input_shape, manifest.preprocessing, settings)
    items = [mistake_item(job, mistake, pictures) for mistake in statistics.mistakes]
    wrong = int(statistics.scores.wrong.sum())
    said = (
        f"{len(items)} of {wrong:,} mistakes, those of the highest scores, as the model saw them. "
        "An image with a wrong label would stand here, too."
    )
    return join(element("p", said), element("ul", *items, class_="pictures"))


def mistake_item(job: Job, mistake: Mistake, pictures: JobImages | None) -> Markup:
    """One mistake with its picture, if that can still be had."""
    predicted, actual = name(job.labels[mistake.predicted]), name(job.labels[mistake.actual])
    found = pictures.read_some([mistake.position]) if pictures else []
    return element(
        "li",
        *(picture(pixels, shortened(f"Image {mistake.image_id}")) for pixels in found),
        element("b", "predicted ", predicted),
        element("span", "actual ", actual),
        element("span", f"score {fraction(mistake.score)}", class_="faint"),
        *(
            element("span", "then ", name(job.labels[i]), f" {fraction(score)}", class_="faint")
            for i, score in mistake.runners_up
        ),
        element("span", "image ", name(mistake.image_id), class_="faint"),
    )


def picture(pixels: Pixels, told: str) -> Markup:
    """Pixels (H, W, C) as an image element that holds them."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    small = max(image.size) <= LARGEST_PICTURE
    image.thumbnail((LARGEST_PICTURE, LARGEST_PICTURE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    source = f"data:image/png;base64,{data}"
    return element("img", src=source, alt=told, class_="small" if small else None)
