"""Networks of `keras.applications` without their heads, and where their weights are to be had."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from imaging.images import Shape
from trainer.datasets.downloads import WebFile
from trainer.errors import TrainingFailed

if TYPE_CHECKING:
    import keras

SMALLEST = 32
"""Pixels that either side must have: it is halved five times."""
APPLICATIONS = "https://storage.googleapis.com/tensorflow/keras-applications"


@dataclass(frozen=True, kw_only=True)
class Backbone:
    application: str
    """Its name in `keras.applications`; of those that take 0..255 and scale by themselves."""
    imagenet: WebFile
    """Its weights without a head. The digests are those in Keras' own source."""

    def build(self, shape: Shape) -> "keras.Model":
        """With random weights, for images (H, W, 3)."""
        import keras

        make = getattr(keras.applications, self.application)
        model: keras.Model = make(weights=None, include_top=False, input_shape=(*shape[:2], 3))
        return model

    def features(self, shape: Shape, weights: Sequence[NDArray[Any]] = ()) -> "keras.Model":
        """From raw uint8 images (N, H, W, C) to a map of features (N, h, w, F).

        Grey images are shown to it in red, green and blue alike. Raises `TrainingFailed` for
        shapes that it cannot take.
        """
        if min(shape[:2]) < SMALLEST or shape[2] not in (1, 3):
            raise TrainingFailed(
                f"{self.application} takes grey or colour images of {SMALLEST} pixels or more, and "
                f"these are {' x '.join(map(str, shape))}: choose --network cnn."
            )
        import keras

        model = self.build(shape)
        if weights:
            model.set_weights(weights)
        pixels = keras.Input(shape, dtype="uint8", name="pixels")
        x = keras.layers.Rescaling(1.0)(pixels)
        if shape[2] == 1:
            x = keras.layers.Concatenate()([x, x, x])
        return keras.Model(pixels, model(x))

    def network(self, shape: Shape, classes: int) -> "keras.Model":
        """The whole with random weights, from raw uint8 images to probabilities (N, classes)."""
        import keras

        features = self.features(shape)
        x = keras.layers.GlobalAveragePooling2D()(features.output)
        x = keras.layers.Dense(classes, activation="softmax")(keras.layers.Dropout(0.2)(x))
        return keras.Model(features.inputs[0], x)


BACKBONES: Mapping[str, Backbone] = {
    "mobilenet": Backbone(
        application="MobileNetV3Large",
        imagenet=WebFile(
            url=f"{APPLICATIONS}/mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
            digest="md5:07fb09a5933dd0c8eaafa16978110389",
            name="weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        ),
    ),
    "efficientnet": Backbone(
        application="EfficientNetB0",
        imagenet=WebFile(
            url="https://storage.googleapis.com/keras-applications/efficientnetb0_notop.h5",
            digest="md5:50bc09e76180e00e4465e1a485ddc09d",
            name="efficientnetb0_notop.h5",
        ),
    ),
}
