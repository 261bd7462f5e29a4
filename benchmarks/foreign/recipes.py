"""Twelve models as others publish them, and what their authors do with a photograph."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model was made, and how its author uses it."""

    application: str
    """The network, by its name in `keras.applications`."""
    width: float = 1.0
    """Of the network: `alpha`, where it has one."""
    library: Literal["keras", "tf_keras"] = "keras"
    file: str = "net.keras"
    """Without an ending it is the folder of a SavedModel."""
    scale: str = "none"
    """What pixels it was trained on, as `trainer import` calls it."""
    inside: bool = False
    """Whether the author's `preprocess_input` is part of the network."""
    classes: int = 1_000
    activation: Literal["softmax", "sigmoid"] | None = "softmax"
    """None gives logits."""
    policy: str = "float32"
    """What Keras computes in."""
    any_size: bool = False
    side: int = 224
    """Of the square that it is given."""
    shorter_side: int = 256
    """To which a photograph is brought before the square is cut out of its middle."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of its classes; one unit tells two apart."""
        return tuple(f"class {i}" for i in range(max(self.classes, 2)))

    @property
    def options(self) -> tuple[str, ...]:
        """What `trainer import` is told of it."""
        size = ("--size", str(self.side)) if self.any_size else ()
        shorter = ("--shorter-side", str(self.shorter_side))
        pixels = ("--interpolation", "antialias", "--full-decoding", "--scale", self.scale)
        return ("--resize", "crop", *shorter, *pixels, *size)

    def read(self, path: Path) -> NDArray[np.uint8]:
        """A photograph as its author reads it, with nothing but Pillow."""
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file).convert("RGB")
        shorter = min(image.size)
        width, height = (int(self.shorter_side * side / shorter) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = round((width - self.side) / 2), round((height - self.side) / 2)
        return np.asarray(image.crop((left, top, left + self.side, top + self.side)))


RECIPES: Mapping[str, Recipe] = {
    "mobilenetv2": Recipe(application="MobileNetV2", scale="-1..1"),
    "mobilenetv2-inside": Recipe(
        application="MobileNetV2", inside=True, classes=120, side=160, shorter_side=182
    ),
    "efficientnetb0": Recipe(application="EfficientNetB0"),
    "resnet50-keras": Recipe(application="ResNet50", scale="caffe"),
    "resnet50-h5": Recipe(application="ResNet50", scale="caffe", file="net.h5", shorter_side=232),
    "resnet50-logits": Recipe(
        application="ResNet50", scale="caffe", file="net", activation=None, shorter_side=224
    ),
    "keras2-h5": Recipe(
        application="MobileNet", library="tf_keras", file="net.h5", scale="-1..1", side=192
    ),
    "keras2-savedmodel": Recipe(application="MobileNetV3Small", library="tf_keras", file="net"),
    "onnx-nchw": Recipe(
        application="MobileNetV2", file="net.onnx", scale="imagenet", activation=None
    ),
    "sigmoid": Recipe(
        application="MobileNetV2",
        width=0.5,
        scale="-1..1",
        classes=1,
        activation="sigmoid",
        side=160,
        shorter_side=160,
    ),
    "mixed-float16": Recipe(
        application="MobileNetV2",
        width=0.35,
        scale="-1..1",
        classes=100,
        policy="mixed_float16",
        side=128,
        shorter_side=146,
    ),
    "any-size": Recipe(
        application="MobileNetV2", scale="-1..1", any_size=True, side=200, shorter_side=220
    ),
}
