"""A small real data set that needs no network: scikit-learn's 8x8 handwritten digits."""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

TEST_IMAGES = 360


@cache
def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """uint8 images (1797, 8, 8), 0 to 255, and labels (1797,)."""
    bunch = load_digits()
    return (bunch.images * 255 / 16).round().astype(np.uint8), bunch.target


def write_digits(folder: Path) -> Path:
    """Write them as PNG files in train/<class>/ and test/<class>/."""
    images, labels = digits()
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        split = "test" if i < TEST_IMAGES else "train"
        target = folder / split / str(label)
        target.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(target / f"{i:04d}.png")
    return folder
