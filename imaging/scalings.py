"""What networks want pixels scaled to, by the names that people give it."""

import re

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from imaging.images import Pixels

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NUMBERS = re.compile(r"[-+0-9.e,]+/[-+0-9.e,]+")


class Scaling(BaseModel, frozen=True, extra="forbid"):
    """`(pixels - mean) / deviation`, one number or one a channel, of pixels from 0 to 255."""

    name: str
    """As `parse` takes it."""
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)
    bgr: bool = False
    """Whether blue comes first. The mean and the deviation are then in that order too."""

    @property
    def changes(self) -> bool:
        """Whether it leaves pixels otherwise than they are."""
        return self.bgr or set(self.mean) != {0.0} or set(self.deviation) != {1.0}

    def fits(self, channels: int) -> bool:
        """Whether pixels of so many channels can be scaled so."""
        lengths = {len(self.mean), len(self.deviation)}
        return lengths <= {1, channels} and (not self.bgr or channels == 3)

    def __call__(self, pixels: Pixels) -> NDArray[np.float32]:
        """Scale uint8 pixels (N, H, W, C)."""
        ordered = pixels[..., ::-1] if self.bgr else pixels
        mean, deviation = np.array(self.mean, np.float32), np.array(self.deviation, np.float32)
        scaled: NDArray[np.float32] = (ordered.astype(np.float32) - mean) / deviation
        return scaled

    def reversed(self) -> "Scaling":
        """The same in BGR."""
        return self.model_copy(update={"bgr": True})


NONE = Scaling(name="none")
NAMED = {
    scaling.name: scaling
    for scaling in (
        NONE,
        Scaling(name="0..1", deviation=(255.0,)),
        Scaling(name="-1..1", mean=(127.5,), deviation=(127.5,)),
        Scaling(
            name="imagenet",
            mean=tuple(255 * mean for mean in IMAGENET_MEAN),
            deviation=tuple(255 * deviation for deviation in IMAGENET_DEVIATION),
        ),
        Scaling(name="caffe", mean=(103.939, 116.779, 123.68), bgr=True),
    )
}
NAMES = tuple(NAMED)
CENTRED = Scaling(name="128/1", mean=(128.0,))
USUAL = (
    *NAMED.values(),
    CENTRED,
    NONE.reversed(),
    NAMED["0..1"].reversed(),
    NAMED["-1..1"].reversed(),
)
"""Those that a model which nobody knows is tried with."""


def parse(text: str) -> Scaling:
    """A scaling by its name, or `MEAN/DEVIATION` in pixels: `128/64` or `124,117,104/58,57,57`.

    Raises `ValueError`.
    """
    if text in NAMED:
        return NAMED[text]
    if not NUMBERS.fullmatch(text):
        raise ValueError(f"{text!r} is no scaling")
    mean, deviation = (tuple(map(float, part.split(","))) for part in text.split("/"))
    if not all(deviation) or not np.isfinite([*mean, *deviation]).all():
        raise ValueError(f"{text!r} divides by zero, or holds no number")
    return Scaling(name=text, mean=mean, deviation=deviation)
