"""The images of one batch: what a worker classifies, a report shows and a data set takes in."""

from collections.abc import Mapping

from imaging.images import Pixels, Shape, decode_image, fit_pixels
from imaging.pngs import decode_plain_pngs
from imaging.preprocessing import Preprocessing
from storage.jobs.inputs import ArrayInputs, ImageFiles, read_pack
from storage.jobs.store import Job, JobStore
from storage.settings import StorageSettings


class BatchImages:
    """The images of one batch as a model's pixels, one by one or many at once."""

    def __init__(
        self,
        store: JobStore,
        job: Job,
        batch: int,
        shape: Shape,
        preprocessing: Preprocessing,
        settings: StorageSettings,
    ) -> None:
        self.shape = shape
        self._store = store
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

    @property
    def are_files(self) -> bool:
        """Whether they are encoded images, not rows of an array."""
        return self._files is not None

    def read(self, position: int) -> Pixels:
        """Pixels (H, W, C) of one image; raises `ImageError`."""
        if self._array is not None:
            return fit_pixels(self._array[position], self.shape, self._preprocessing)
        return self.decode(self.content(position))

    def view(self, span: range) -> Pixels | None:
        """A span of the memory-mapped array, where no image of it has to be converted."""
        if self._array is None or self._array.dtype != "uint8" or not self._preprocessing.keeps:
            return None
        shape = self._array.shape[1:]
        if shape == self.shape or (*shape, 1) == self.shape:
            return self._array[span.start : span.stop].reshape(len(span), *self.shape)
        return None

    def name(self, position: int) -> str:
        """The id of an image of a file, in an array its position among the images of the job."""
        return str(self._span[position]) if self._files is None else self._files.ids[position]

    def stored(self, position: int) -> str | None:
        """Where on storage the file of an image lies, if it is not in the job itself."""
        assert self._files is not None
        return self._files.stored[position]

    def content(self, position: int) -> bytes:
        """The encoded bytes of one image; raises `ImageError`."""
        assert self._files is not None
        return self._files.read(
            position,
            self._store.root,
            max_bytes=self._settings.max_image_bytes,
            folders=self._folders,
        )

    def decode(self, content: bytes) -> Pixels:
        """Pixels (H, W, C) of an encoded image; raises `ImageError`."""
        return decode_image(
            content,
            self.shape,
            self._preprocessing,
            max_pixels=self._settings.max_image_pixels,
        )

    def decode_plain(self, contents: Mapping[int, bytes], pixels: Pixels) -> set[int]:
        """Decode all at once into `pixels` (N, H, W, C) what can be; returns which those are."""
        height, width, _ = self.shape
        if height * width > self._settings.max_image_pixels or not self._preprocessing.keeps:
            return set()
        return decode_plain_pngs(contents, self.shape, pixels)
