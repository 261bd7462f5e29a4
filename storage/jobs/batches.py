"""The images of one batch: what a worker classifies, a report shows and a data set takes in."""

from imaging.images import Pixels, Shape, decode_image, fit_pixels
from imaging.preprocessing import Preprocessing
from storage.jobs.inputs import ArrayInputs, ImageFiles, read_pack
from storage.jobs.store import Job, JobStore
from storage.settings import StorageSettings


class BatchImages:
    """The images of one batch, one by one as a model's pixels."""

    def __init__(
        self,
        store: JobStore,
        job: Job,
        batch: int,
        shape: Shape,
        preprocessing: Preprocessing,
        settings: StorageSettings,
    ) -> None:
        self._store = store
        self._shape = shape
        self._preprocessing = preprocessing
        self._settings = settings
        span = job.span(batch)
        self._span = span
        self.count = len(span)
        self._array: Pixels | None = None
        self._files: ImageFiles | None = None
        self._folders: dict[str, str] = {}
        if isinstance(job.inputs, ArrayInputs):
            self._array = store.open_array(job)[span.start : span.stop]
        else:
            self._files = read_pack(store.pack_path(job, batch))

    def read(self, position: int) -> Pixels:
        """Pixels (H, W, C) of one image; raises `ImageError`."""
        if self._array is not None:
            return fit_pixels(self._array[position], self._shape, self._preprocessing)
        return self._decode(self._content(position))

    def name(self, position: int) -> str:
        """The id of an image of a file, in an array its position among the images of the job."""
        return str(self._span[position]) if self._files is None else self._files.ids[position]

    def _content(self, position: int) -> bytes:
        assert self._files is not None
        return self._files.read(
            position,
            self._store.root,
            max_bytes=self._settings.max_image_bytes,
            folders=self._folders,
        )

    def _decode(self, content: bytes) -> Pixels:
        return decode_image(
            content,
            self._shape,
            self._preprocessing,
            max_pixels=self._settings.max_image_pixels,
        )
