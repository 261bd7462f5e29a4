"""What every runtime makes of a model version: pixels in, probabilities out."""

from collections.abc import Sequence
from typing import Protocol

from evaluation.ranking import Probabilities
from imaging.images import Pixels, Shape
from imaging.preprocessing import Preprocessing


class Predictor(Protocol):
    """One model version, loaded and ready."""

    @property
    def shape(self) -> Shape:
        """Height, width and channels of the images it takes."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures come to that shape."""

    chunk: int
    """How many images it takes at a time."""

    @property
    def chunks(self) -> Sequence[int]:
        """How many it may take, where only a trial tells what is the fastest, the fewest first."""

    def __call__(self, pixels: Pixels) -> Probabilities:
        """Probabilities for uint8 pixels (N, H, W, C), any number of them."""
