"""The images of a job as the model saw them."""

from collections.abc import Iterable
from contextlib import suppress

from imaging.errors import ImageError
from imaging.images import Pixels, Shape, decode_image, fit_pixels
from imaging.preprocessing import Preprocessing
from storage.errors import StorageError
from storage.jobs.inputs import ArrayInputs, read_packed
from storage.jobs.store import Job, JobStore
from storage.settings import StorageSettings


class Pictures:
    """The images of a job as the model saw them."""

    def __init__(
        self,
        store: JobStore,
        job: Job,
        shape: Shape,
        preprocessing: Preprocessing,
        settings: StorageSettings,
    ) -> None:
        self._store, self._job, self._shape, self._settings = store, job, shape, settings
        self._preprocessing = preprocessing
        self._array: Pixels | None = None

    def read(self, position: int) -> Pixels:
        """Pixels (H, W, C) of one image; raises `ImageError` when its file has gone."""
        if isinstance(self._job.inputs, ArrayInputs):
            if self._array is None:
                self._array = self._store.open_array(self._job)
            return fit_pixels(self._array[position], self._shape, self._preprocessing)
        batch, offset = divmod(position, self._job.batch_size)
        image = read_packed(self._store.pack_path(self._job, batch), offset)
        content = image.read(self._store.root, max_bytes=self._settings.max_image_bytes)
        return decode_image(
            content,
            self._shape,
            self._preprocessing,
            max_pixels=self._settings.max_image_pixels,
        )

    def read_some(self, positions: Iterable[int]) -> list[Pixels]:
        """Several images; those whose files have gone or changed are left out."""
        found = []
        for position in positions:
            with suppress(ImageError, StorageError):
                found.append(self.read(position))
        return found
