"""What every runtime makes of a model version: pixels in, probabilities out."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from imaging.images import Pixels, Shape
from imaging.preprocessing import Preprocessing

Probabilities = NDArray[np.float32]
"""Of each class for each image, (N, classes)."""


class Predictor(Protocol):
    """One model version, loaded and ready."""

    @property
    def shape(self) -> Shape:
        """Height, width and channels of the images it takes."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures come to that shape."""

    @property
    def chunk(self) -> int:
        """How many images it takes at a time."""

    def __call__(self, pixels: Pixels) -> Probabilities:
        """Probabilities for uint8 pixels (N, H, W, C), any number of them."""


def likeliest(probabilities: Probabilities) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Index of the likeliest class (N,), the first of several, and its probability (N,)."""
    predictions = probabilities.argmax(axis=1).astype(np.int32)
    return predictions, probabilities[np.arange(len(probabilities)), predictions]
