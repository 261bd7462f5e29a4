"""The images of a job as thumbnails that the page holds itself."""

import base64
import io

from PIL import Image

from console.shortening import shortened
from imaging.errors import ImageError
from imaging.images import Pixels
from producer.report.formatting import LONGEST_NAME
from producer.report.html import Markup, element
from storage.errors import StorageError
from storage.jobs.batches import JobImages
from storage.jobs.stored_job import StoredJob
from storage.models.store import Manifest
from storage.settings import StorageSettings

LARGEST_SIDE = 96
"""Pixels; larger images are shown smaller."""
LOSSLESS_BYTES = 3_000
"""Up to so many a thumbnail is PNG, as drawings are; photographs are JPEG."""


class Pictures:
    """Thumbnails of single images; without a manifest there are none."""

    def __init__(
        self, stored: StoredJob, manifest: Manifest | None, settings: StorageSettings
    ) -> None:
        self._images = None
        if manifest:
            self._images = JobImages(stored, manifest.input_shape, manifest.preprocessing, settings)
        self._stored = stored
        self._lease_seconds = settings.lease_seconds
        self._shown: dict[int, Markup | None] = {}

    def __bool__(self) -> bool:
        return self._images is not None

    @property
    def any_had(self) -> bool:
        """Whether there was any of the pictures asked for so far."""
        return any(self._shown.values())

    @property
    def told(self) -> str:
        """What these are, as a clause."""
        return "as the model saw them" if self.any_had else "whose pictures cannot be had any more"

    def of(self, position: int, image_id: str) -> Markup:
        """An image as its model saw it; nothing if it cannot be had any more."""
        return self._picture(position, image_id) or Markup()

    def of_failed(self, position: int, image_id: str) -> Markup:
        """What can be seen of a failed image.

        Where a worker has died, or taken too long, nothing is looked at: it may have been this one.
        """
        if self._images is None or self._may_be_harmful(position):
            return Markup()
        found = self._picture(position, image_id)
        if found is None:
            pixels = self._images.preview(position, LARGEST_SIDE)
            found = None if pixels is None else thumbnail(pixels, image_id)
        return found or Markup()

    def _picture(self, position: int, image_id: str) -> Markup | None:
        if self._images is None:
            return None
        if position not in self._shown:
            try:
                self._shown[position] = thumbnail(self._images.read(position), image_id)
            except (ImageError, StorageError):
                self._shown[position] = None
        return self._shown[position]

    def _may_be_harmful(self, position: int) -> bool:
        batch = position // self._stored.job.batch_size
        history = self._stored.attempts.history(batch, self._lease_seconds)
        return bool(history.deaths or history.timeouts or history.blamed)


def thumbnail(pixels: Pixels, image_id: str) -> Markup:
    """Pixels (H, W, C) as an image element that holds them."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    small = max(image.size) <= LARGEST_SIDE
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    kind, content = "png", encoded(image, "PNG", optimize=True)
    if len(content) > LOSSLESS_BYTES and image.mode != "RGBA":
        kind, content = "jpeg", encoded(image, "JPEG", quality=85)
    return element(
        "img",
        src=f"data:image/{kind};base64,{base64.b64encode(content).decode()}",
        alt=f"Image {shortened(image_id, LONGEST_NAME)}",
        class_="small" if small else None,
    )


def encoded(image: Image.Image, format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()
