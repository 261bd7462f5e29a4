"""The images of a job: what a worker classifies, a report shows and a data set takes in."""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from imaging.decoding.pngs import decode_plain_pngs
from imaging.errors import ImageError
from imaging.images import Pixels, Shape, decode_image, fit_pixels
from imaging.preprocessing import Preprocessing
from imaging.preview import preview
from storage.errors import StorageError
from storage.jobs.inputs import ImageFiles, Pack
from storage.jobs.stored_job import StoredJob
from storage.settings import StorageSettings


class BatchImages:
    """The images of one batch as a model's pixels, one by one or many at once."""

    def __init__(
        self,
        stored: StoredJob,
        batch: int,
        shape: Shape,
        preprocessing: Preprocessing,
        settings: StorageSettings,
    ) -> None:
        self.shape = shape
        self._root = stored.root
        self._preprocessing = preprocessing
        self._settings = settings
        span = stored.job.span(batch)
        self._span = span
        self.count = len(span)
        self._array: Pixels | None = None
        self._files: ImageFiles | None = None
        self._folders: dict[str, str] = {}
        if stored.job.array:
            self._array = stored.inputs.open_array()[span.start : span.stop]
        else:
            self._files = stored.inputs.read_pack(batch)

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
            self._root,
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


class JobImages:
    """Single images of a whole job as a model's pixels, read where they lie.

    Of a packed batch only the bytes of the wanted image are read; the last pack stays open.
    """

    def __init__(
        self,
        stored: StoredJob,
        shape: Shape,
        preprocessing: Preprocessing,
        settings: StorageSettings,
    ) -> None:
        self._stored, self._settings = stored, settings
        self._shape, self._preprocessing = shape, preprocessing
        self._array: Pixels | None = None
        self._pack: tuple[int, Pack] | None = None

    def read(self, position: int) -> Pixels:
        """Pixels (H, W, C) of one image; raises `ImageError` when its file has gone."""
        if self._stored.job.array:
            if self._array is None:
                self._array = self._stored.inputs.open_array()
            return fit_pixels(self._array[position], self._shape, self._preprocessing)
        return decode_image(
            self._content(position),
            self._shape,
            self._preprocessing,
            max_pixels=self._settings.max_image_pixels,
        )

    def preview(self, position: int, side: int) -> Pixels | None:
        """What can be seen of an image file that cannot be read, see `imaging.preview`."""
        if self._stored.job.array:
            return None
        try:
            content = self._content(position)
        except (ImageError, StorageError):
            return None
        return preview(content, side, max_pixels=self._settings.max_image_pixels)

    def _content(self, position: int) -> bytes:
        batch, offset = divmod(position, self._stored.job.batch_size)
        if self._pack is None or self._pack[0] != batch:
            self._pack = batch, self._stored.inputs.open_pack(batch)
        image = self._pack[1].image(offset)
        return image.read(self._stored.root, max_bytes=self._settings.max_image_bytes)

    def read_some(self, positions: Iterable[int]) -> list[Pixels]:
        """Several images; those whose files have gone or changed are left out."""
        found = []
        for position in positions:
            with suppress(ImageError, StorageError):
                found.append(self.read(position))
        return found
