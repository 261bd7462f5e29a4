"""A whole data set in memory, on its way to shared storage."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from console.counts import counted
from imaging.images import MODE_OF_CHANNELS, Pixels, Shape
from storage.datasets.store import DataSet, DatasetStore
from trainer.errors import SourceError

SPLITS = ("train", "test")


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """One split: uint8 images (N, H, W, C) and class indices (N,)."""

    images: Pixels
    labels: NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class LabelledArrays:
    """Training and test images with the names of their classes, and where they come from."""

    train: LabelledImages
    test: LabelledImages
    classes: tuple[str, ...]
    origin: str

    def save(self, store: DatasetStore, name: str, *, replace: bool = False) -> DataSet:
        """Put everything on shared storage under `name`; raises `SourceError` if it is odd."""
        shape = self._check()
        with store.draft(shape) as draft:
            for split in SPLITS:
                part: LabelledImages = getattr(self, split)
                images, labels = draft.add_split(split, len(part.images))
                images[:] = part.images
                labels[:] = part.labels
            return store.commit(draft, name, self.classes, self.origin, replace=replace)

    def _check(self) -> Shape:
        """The common shape of all images, once everything fits together."""
        for split in SPLITS:
            part: LabelledImages = getattr(self, split)
            if part.images.ndim != 4 or part.images.shape[-1] not in MODE_OF_CHANNELS:
                raise SourceError(
                    f"The {split} images of {self.origin} have the shape {part.images.shape}: "
                    "(N, H, W) or (N, H, W, C) with 1, 3 or 4 channels is needed."
                )
            if len(part.images) == 0 or len(part.images) != len(part.labels):
                raise SourceError(
                    f"{self.origin} has {counted(len(part.images), f'{split} image')} and "
                    f"{counted(len(part.labels), 'label')}: it needs equally many of both, "
                    "and at least one."
                )
            low, high = int(part.labels.min()), int(part.labels.max())
            if low < 0 or high >= len(self.classes):
                raise SourceError(
                    f"The {split} labels of {self.origin} go from {low} to {high}: they must be "
                    f"class indices from 0 to {len(self.classes) - 1}."
                )
        if len(self.classes) < 2:
            raise SourceError(f"{self.origin} has only one class: there is nothing to tell apart.")
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise SourceError(
                f"Training and test images of {self.origin} differ in shape: "
                f"{self.train.images.shape[1:]} and {self.test.images.shape[1:]}."
            )
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels


def as_images(array: NDArray[np.generic], origin: str) -> Pixels:
    """Bring grey images (N, H, W) to (N, H, W, 1); raises `SourceError` unless they are uint8."""
    if array.dtype != np.uint8:
        raise SourceError(
            f"The images of {origin} are {array.dtype}: raw pixels as uint8, 0 to 255, are needed."
        )
    pixels = array.view(np.uint8)
    return pixels[..., None] if pixels.ndim == 3 else pixels


def as_labels(array: NDArray[np.generic], origin: str) -> NDArray[np.integer]:
    """Bring integer labels (N,) or (N, 1) to (N,)."""
    if not np.issubdtype(array.dtype, np.integer) or array.size != len(array):
        raise SourceError(
            f"The labels of {origin} are {array.dtype} {array.shape}: one integer per image is "
            "needed."
        )
    return array.reshape(-1).astype(np.int64)


def numbered_classes(*labels: NDArray[np.integer]) -> tuple[str, ...]:
    """Class names "0", "1" and so on up to the highest label."""
    highest = max((int(part.max()) for part in labels if part.size), default=-1)
    return tuple(str(i) for i in range(highest + 1))
