"""Small random changes to training images that leave their class what it is.

All of them are one affine transform per image, drawn by NumPy and applied to a batch at once. They
belong to the training, not to the network: a published model has nothing of them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imaging.images import Shape

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far an image may be changed."""

    rotation: float = 0.0
    """Degrees either way."""
    shear: float = 0.0
    """Degrees that upright lines may lean either way."""
    zoom: float = 0.0
    """Share that an image may grow or shrink by."""
    translation: float = 0.0
    """Share of height and width that it may be moved by, in whole pixels."""
    flip: bool = False
    """Whether left and right may change sides: not for digits."""
    fill: str = "constant"
    """What comes in from outside: `constant` is black, `reflect` mirrors the image."""

    def draw(
        self, random: np.random.Generator, count: int, input_shape: Shape
    ) -> NDArray[np.float32]:
        """Transforms (count, 8) in the form of `keras.ops.image.affine_transform`.

        They take the place of an output pixel to that of the input pixel: x' = a x + b y + c and
        y' = d x + e y + f, in the order a b c d e f 0 0.
        """
        height, width, _ = input_shape
        angle = np.deg2rad(random.uniform(-self.rotation, self.rotation, count))
        scale = 1 + random.uniform(-self.zoom, self.zoom, count)
        right = np.rint(random.uniform(-1, 1, count) * self.translation * width)
        down = np.rint(random.uniform(-1, 1, count) * self.translation * height)
        mirror = np.where(self.flip & (random.random(count) < 0.5), -1, 1)
        lean = np.tan(np.deg2rad(random.uniform(-self.shear, self.shear, count)))

        a, b = mirror * scale * np.cos(angle), -mirror * scale * np.sin(angle)
        d, e = scale * np.sin(angle), scale * np.cos(angle)
        b, e = b + lean * a, e + lean * d
        x, y = (width - 1) / 2, (height - 1) / 2
        c = x - a * (x + right) - b * (y + down)
        f = y - d * (x + right) - e * (y + down)
        nothing = np.zeros(count)
        return np.stack([a, b, c, d, e, f, nothing, nothing], axis=1).astype(np.float32)

    def apply(
        self, batches: "tf.data.Dataset", transforms: NDArray[np.float32], size: int
    ) -> "tf.data.Dataset":
        """Batches of `size` uint8 images and labels, the images changed by `transforms` (N, 8)."""
        import keras
        import tensorflow as tf

        def change(batch: "tuple[tf.Tensor, tf.Tensor]", moves: "tf.Tensor") -> Any:
            images, labels = batch
            changed = keras.ops.image.affine_transform(images, moves, fill_mode=self.fill)
            return changed, labels

        moves = tf.data.Dataset.from_tensor_slices(transforms).batch(size)
        return tf.data.Dataset.zip(batches, moves).map(change).prefetch(2)
