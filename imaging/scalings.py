"""Ways to scale pixels that networks are usually trained with, and the layers that do it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.images import Pixels


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """One way: `(pixels / divisor - mean) / deviation`, in RGB or BGR."""

    name: str
    layers: tuple[str, ...]
    """Lines of Python that make `scaled` from the Keras tensor `pixels`."""
    divisor: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)
    reverse: bool = False
    channels: tuple[int, ...] = (3,)

    def __call__(self, pixels: Pixels) -> NDArray[np.float32]:
        """Scale uint8 pixels (N, H, W, C), 0 to 255."""
        ordered = pixels[..., ::-1] if self.reverse else pixels
        mean, deviation = np.array(self.mean, np.float32), np.array(self.deviation, np.float32)
        divided = ordered.astype(np.float32) / np.float32(self.divisor)
        scaled: NDArray[np.float32] = (divided - mean) / deviation
        return scaled


ANY = (1, 3, 4)
FLIP = "scaled = keras.ops.flip(pixels, axis=-1)"
SCALINGS = (
    Scaling(
        name="scaled to 0..1",
        layers=("scaled = keras.layers.Rescaling(1 / 255)(pixels)",),
        divisor=255,
        channels=ANY,
    ),
    Scaling(
        name="scaled to -1..1",
        layers=("scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)",),
        divisor=127.5,
        mean=(1,),
        channels=ANY,
    ),
    Scaling(
        name="scaled by ImageNet's mean and deviation",
        layers=(
            "scaled = keras.layers.Rescaling(1 / 255)(pixels)",
            "scaled = keras.layers.Normalization(",
            "    mean=[0.485, 0.456, 0.406],",
            "    variance=[0.229**2, 0.224**2, 0.225**2],",
            ")(scaled)",
        ),
        divisor=255,
        mean=(0.485, 0.456, 0.406),
        deviation=(0.229, 0.224, 0.225),
    ),
    Scaling(
        name="as BGR minus ImageNet's mean",
        layers=(
            FLIP,
            "scaled = keras.layers.Normalization(",
            "    mean=[103.939, 116.779, 123.68], variance=[1, 1, 1]",
            ")(scaled)",
        ),
        mean=(103.939, 116.779, 123.68),
        reverse=True,
    ),
    Scaling(name="as BGR", layers=(FLIP,), reverse=True),
    Scaling(
        name="as BGR scaled to 0..1",
        layers=(FLIP, "scaled = keras.layers.Rescaling(1 / 255)(scaled)"),
        divisor=255,
        reverse=True,
    ),
)


def scalings_for(channels: int) -> list[Scaling]:
    """Those that images of so many channels can have."""
    return [scaling for scaling in SCALINGS if channels in scaling.channels]
