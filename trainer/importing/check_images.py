"""Images whose classes are known, to see how a network wants them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from imaging.errors import ImageError
from imaging.images import Pixels, Shape, decode_image, fit_pixels
from imaging.preprocessing import Preprocessing
from storage.class_names import Classes
from trainer.errors import ImportFailed

PROBES = 8
"""Enough to tell that a network was converted rightly."""
MANY_PROBES = 32
"""Enough to tell whether another runtime rounds as it should: few images show the worst."""


class CheckImages(BaseModel, frozen=True):
    """Files, or rows of an array, and the class of each."""

    name: str
    """What people call them: the folder, or the data set."""
    classes: tuple[str, ...]
    """Of each image."""
    files: tuple[Path, ...] = ()
    array: Path | None = None
    """Instead of files, a `.npy` file of uint8 (N, H, W, C)."""

    @property
    def shape(self) -> Shape | None:
        """Of the images in an array; files have none in common."""
        if self.array is None:
            return None
        height, width, channels = np.load(self.array, mmap_mode="r", allow_pickle=False).shape[1:]
        return height, width, channels

    def sample(self, count: int) -> list[int]:
        """Which images to take for so many, from the first to the last."""
        total = len(self.classes)
        rows: list[int] = np.linspace(0, total - 1, min(total, count)).round().astype(int).tolist()
        return rows

    def readable(
        self, rows: Sequence[int], shape: Shape, preprocessing: Preprocessing
    ) -> tuple[list[int], list[str]]:
        """Which of these images can be read, and which cannot, with the reason.

        Raises `ImportFailed` if none can.
        """
        good, bad = [], []
        for row in rows:
            try:
                self.read([row], shape, preprocessing)
                good.append(row)
            except ImportFailed as error:
                bad.append(str(error))
        if not good:
            raise ImportFailed(f"No image of {self.name} can be read: {bad[0]}.")
        return good, bad

    def read(self, rows: Sequence[int], shape: Shape, preprocessing: Preprocessing) -> Pixels:
        """Pixels (n, H, W, C) of these images; raises `ImportFailed`."""
        if self.array:
            array = np.load(self.array, mmap_mode="r", allow_pickle=False)[list(rows)]
            if array.shape[1:] == shape:
                return np.asarray(array)
            return np.stack([fit_pixels(row, shape, preprocessing) for row in array])
        pixels = []
        for row in rows:
            try:
                content = self.files[row].read_bytes()
                pixels.append(decode_image(content, shape, preprocessing))
            except (ImageError, OSError) as error:
                where = Path(*self.files[row].parts[-2:])  # with its class
                raise ImportFailed(f"{where} ({error})") from None
        return np.stack(pixels)

    def require_classes(self, labels: Sequence[str]) -> None:
        """Raise `ImportFailed` for a class that is not among these."""
        position = Classes(labels)
        for name in dict.fromkeys(self.classes):
            if name not in position:
                more = " ..." if len(labels) > 5 else ""
                raise ImportFailed(
                    f"{self.name} has the class {name!r}, and the model has not: its classes are "
                    f"{', '.join(labels[:5])}{more}."
                )


def probes_of(
    check: CheckImages | None, shape: Shape, preprocessing: Preprocessing, count: int = PROBES
) -> Pixels:
    """A few images of a check, or patterns of chance: uint8 (count, H, W, C)."""
    if check is None:
        return patterns(count, shape)
    rows, _ = check.readable(check.sample(count), shape, preprocessing)
    return check.read(rows, shape, preprocessing)


def patterns(count: int, shape: Shape) -> Pixels:
    """Fields of random colours, from one as large as the image to one a pixel, in turn.

    Noise alone is too far from any photograph: many networks are sure of one class for all of it.
    """
    random = np.random.default_rng(1)
    height, width, channels = shape
    finest = max(height, width).bit_length()
    made = []
    for number in range(count):
        fields = 2 ** (number % (finest + 1))
        colours = random.integers(0, 256, (fields, fields, channels), np.uint8)
        rows, columns = (np.arange(side) * fields // side for side in (height, width))
        made.append(colours[rows[:, None], columns])
    return np.stack(made)
