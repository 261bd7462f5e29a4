"""The networks that can be trained. All take raw uint8 pixels and give class probabilities.

Scaling to 0..1 is a layer of the network, so that whoever predicts cannot forget it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imaging.images import Shape
from trainer.errors import UnknownNetwork, UnknownPreset
from trainer.training.augmentation import Augmentation
from trainer.training.backbones import BACKBONES
from trainer.training.recipes import Recipe

if TYPE_CHECKING:
    import keras


DEFAULT = "default"
TRANSFER = "transfer"
"""The network of a training that starts from a version: what that one is, with a new head."""
LARGE = 96
"""Pixels of the longer side from which on images are photographs, and no signs."""
USUAL, PHOTOGRAPHIC, FROM_SCRATCH = "mlp", "mobilenet", "resnet"
"""What is trained on small images, on large ones, and on these where no weights can be had."""
Build = Callable[[Shape, int], "keras.Model"]

LEAST_STEPS, LEAST_STEPS_FURTHER = 2000, 500
"""With fewer a network of convolutions has hardly begun to learn, or to learn further."""
DIGITS = Augmentation(rotation=10, zoom=0.1, translation=0.1)
"""For signs that mean something else when mirrored."""
DIGITS_FARTHER = Augmentation(rotation=15, shear=10, zoom=0.15, translation=0.1)
"""For a long training, which learns the others by heart."""
PHOTOGRAPHS = Augmentation(translation=0.125, flip=True, fill="reflect")
"""Four pixels of CIFAR's 32, and left for right."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """How to build a network, and the ways to train it."""

    build: Build
    """From uint8 images (N, H, W, C) to probabilities (N, classes)."""
    augmentation: Augmentation
    presets: Mapping[str, Recipe]
    """One of them is `default`."""
    larger: Mapping[str, Build] = field(default_factory=dict)
    """What is built instead for a preset that has the time for more."""

    def build_for(self, preset: str, input_shape: Shape, classes: int) -> "keras.Model":
        return self.larger.get(preset, self.build)(input_shape, classes)


def augmentation_for(network: str, shape: Shape) -> Augmentation:
    """How far a training may change images; that of a version's network goes by their colours."""
    if network == TRANSFER:
        return DIGITS if shape[2] == 1 else PHOTOGRAPHS
    return get_network(network).augmentation


def get_network(name: str) -> Network:
    """A network by name; raises `UnknownNetwork`."""
    try:
        return NETWORKS[name]
    except KeyError:
        raise UnknownNetwork(
            f"There is no network {name!r}: choose one of {', '.join(NETWORKS)}."
        ) from None


def get_recipe(network: str, preset: str, *, learned: bool = False) -> Recipe:
    """A network's preset by name; raises `UnknownNetwork` or `UnknownPreset`.

    `learned` is whether it starts from weights that know something already.
    """
    presets = LEARNED if learned else get_network(network).presets
    try:
        return presets[preset]
    except KeyError:
        raise UnknownPreset(
            f"Network {network} has no preset {preset!r}: choose one of {', '.join(presets)}."
        ) from None


def build_mlp(input_shape: Shape, classes: int) -> "keras.Model":
    """One hidden layer of 128 units."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input(input_shape, dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(classes, activation="softmax"),
        ],
        name="mlp",
    )


def build_cnn(input_shape: Shape, classes: int) -> "keras.Model":
    """Blocks of convolution, normalisation and pooling until the map is small, then the decision.

    Larger images get more blocks, so that the size of the network hardly depends on theirs. The
    first block, which has the most pixels to go over, convolves once, the others twice.
    """
    import keras
    from keras import layers

    model = keras.Sequential(name="cnn")
    model.add(keras.Input(input_shape, dtype="uint8"))
    model.add(layers.Rescaling(1 / 255))
    for block, filters in enumerate(block_filters(input_shape)):
        model.add(layers.Conv2D(filters, 3, padding="same", use_bias=False))
        model.add(layers.MaxPooling2D(2, padding="same"))  # first, so that the rest has less to do
        model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.Activation("relu"))
        if block > 0:
            model.add(layers.Conv2D(filters, 3, padding="same", use_bias=False))
            model.add(layers.BatchNormalization(momentum=0.9))
            model.add(layers.Activation("relu"))
    model.add(layers.Flatten())
    model.add(layers.Dropout(0.3))
    model.add(layers.Dense(classes, activation="softmax"))
    return model


def build_thorough_cnn(input_shape: Shape, classes: int) -> "keras.Model":
    """As `build_cnn`, but each block convolves twice before it pools, and then drops a fifth.

    Three times the work, most of it at full resolution; the dropout keeps a long training from
    learning the images by heart.
    """
    import keras
    from keras import layers

    model = keras.Sequential(name="cnn")
    model.add(keras.Input(input_shape, dtype="uint8"))
    model.add(layers.Rescaling(1 / 255))
    for filters in block_filters(input_shape):
        model.add(layers.Conv2D(filters, 3, padding="same", use_bias=False))
        model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.Activation("relu"))
        model.add(layers.Conv2D(filters, 3, padding="same", use_bias=False))
        model.add(layers.MaxPooling2D(2, padding="same"))
        model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.Activation("relu"))
        model.add(layers.Dropout(0.2))
    model.add(layers.Flatten())
    model.add(layers.Dropout(0.2))
    model.add(layers.Dense(classes, activation="softmax"))
    return model


def block_filters(input_shape: Shape) -> list[int]:
    """Filters of each block: at least two blocks, and as many as bring the map to 4 x 4 or less."""
    side, blocks = max(input_shape[:2]), 0
    while side > 4 or blocks < 2:
        side, blocks = -(-side // 2), blocks + 1
    return [min(32 * (block + 1), 128) for block in range(blocks)]


def build_resnet(input_shape: Shape, classes: int) -> "keras.Model":
    """A small residual network for colour images of 32 pixels or more.

    Shortcuts as in He et al. (2015), but few and wide layers that pool early, as in Page's
    ResNet-9 (2018), with a quarter of its filters: on CIFAR-10 it had 0.8688 after 18 minutes on
    two cores, 14 layers in the form of the first paper 0.8344 after 23. Larger images are halved
    first, until they have no more than 48 pixels.
    """
    import keras
    from keras import layers

    def convolve(x: "keras.KerasTensor", filters: int, *, halve: bool = False) -> Any:
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        if halve:
            x = layers.MaxPooling2D(2, padding="same")(x)
        return layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))

    def residual(x: "keras.KerasTensor", filters: int) -> Any:
        return layers.Add()([x, convolve(convolve(x, filters), filters)])

    images = keras.Input(input_shape, dtype="uint8")
    x = convolve(layers.Rescaling(1 / 255)(images), 16)
    side = max(input_shape[:2])
    while side > 48:
        x, side = convolve(x, 16, halve=True), -(-side // 2)
    x = residual(convolve(x, 32, halve=True), 32)
    x = convolve(x, 64, halve=True)
    x = residual(convolve(x, 128, halve=True), 128)
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(images, layers.Dense(classes, activation="softmax")(x), name="resnet")


NETWORKS: Mapping[str, Network] = {
    "mlp": Network(
        build=build_mlp,
        augmentation=DIGITS,
        presets={
            DEFAULT: Recipe(epochs=5, batch_size=32, steps_per_execution=50),
            "fast": Recipe(
                epochs=4, batch_size=256, learning_rate=0.01, falling=True, steps_per_execution=50
            ),
            "best": Recipe(
                epochs=30,
                batch_size=256,
                learning_rate=0.005,
                weight_decay=0.1,
                falling=True,
                steps_per_execution=50,
            ),
        },
    ),
    "cnn": Network(
        build=build_cnn,
        augmentation=DIGITS,
        presets={
            DEFAULT: Recipe(
                epochs=20,
                batch_size=128,
                learning_rate=0.003,
                falling=True,
                augment=True,
                patience=6,
                least_steps=LEAST_STEPS,
            ),
            "fast": Recipe(epochs=4, batch_size=128, learning_rate=0.003, falling=True),
            "best": Recipe(
                epochs=20,
                batch_size=128,
                learning_rate=0.003,
                falling=True,
                augment=True,
                augmentation=DIGITS_FARTHER,
            ),
        },
        larger={"best": build_thorough_cnn},
    ),
    "resnet": Network(
        build=build_resnet,
        augmentation=PHOTOGRAPHS,
        presets={
            DEFAULT: Recipe(
                epochs=20,
                batch_size=128,
                learning_rate=0.006,
                weight_decay=0.1,
                falling=True,
                augment=True,
                patience=6,
                least_steps=LEAST_STEPS,
            ),
            "best": Recipe(
                epochs=100,
                batch_size=128,
                learning_rate=0.006,
                weight_decay=0.1,
                falling=True,
                augment=True,
            ),
        },
    ),
    **{
        name: Network(
            build=backbone.network,
            augmentation=PHOTOGRAPHS,
            presets={
                DEFAULT: Recipe(
                    epochs=60,
                    batch_size=32,
                    learning_rate=0.002,
                    weight_decay=0.05,
                    falling=True,
                    augment=True,
                    patience=12,
                    least_steps=LEAST_STEPS,
                ),
            },
        )
        for name, backbone in BACKBONES.items()
    },
}

LEARNED: Mapping[str, Recipe] = {
    DEFAULT: Recipe(
        epochs=12,
        batch_size=32,
        learning_rate=0.0003,
        falling=True,
        augment=True,
        patience=4,
        least_steps=LEAST_STEPS_FURTHER,
    ),
}
"""For networks that know something already: their first epoch is that of the head alone."""
