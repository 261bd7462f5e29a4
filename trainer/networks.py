"""The networks that can be trained. All take raw uint8 pixels and give class probabilities.

Scaling to 0..1 is a layer of the network, so that whoever predicts cannot forget it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage.images import Shape
from trainer.errors import UnknownNetwork

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class Network:
    """How to build a network and how long to train it unless told otherwise."""

    build: "Callable[[Shape, int], keras.Model]"
    epochs: int
    batch_size: int
    steps_per_execution: int = 1
    """Steps that TensorFlow runs before Python looks again: many for a network of short steps."""
    learning_rate: Callable[[float], float] | None = None
    """Learning rate by the share of the epochs done, 0 to 1; that of Adam throughout if none."""


def get_network(name: str) -> Network:
    """A network by name; raises `UnknownNetwork`."""
    try:
        return NETWORKS[name]
    except KeyError:
        raise UnknownNetwork(
            f"There is no network {name!r}: choose one of {', '.join(NETWORKS)}."
        ) from None


def build(network: str, input_shape: Shape, classes: int) -> "keras.Model":
    """A compiled Keras model from uint8 images (N, H, W, C) to probabilities (N, classes)."""
    chosen = get_network(network)
    model = chosen.build(input_shape, classes)
    model.compile(
        optimizer="adam",
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=chosen.steps_per_execution,
    )
    return model


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
    """Blocks of convolution, normalisation and pooling until the map is small, then one decision.

    Larger images get more blocks, so that the size of the network hardly depends on theirs.
    """
    import keras
    from keras import layers

    model = keras.Sequential(name="cnn")
    model.add(keras.Input(input_shape, dtype="uint8"))
    model.add(layers.Rescaling(1 / 255))
    for filters in block_filters(input_shape):
        model.add(layers.Conv2D(filters, 3, padding="same", use_bias=False))
        model.add(layers.MaxPooling2D(2, padding="same"))  # first, so that the rest has less to do
        model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.Activation("relu"))
    model.add(layers.Flatten())
    model.add(layers.Dropout(0.4))
    model.add(layers.Dense(128, activation="relu"))
    model.add(layers.Dropout(0.4))
    model.add(layers.Dense(classes, activation="softmax"))
    return model


def block_filters(input_shape: Shape) -> list[int]:
    """Filters of each block: at least two blocks, and as many as bring the map to 8 x 8 or less."""
    side, blocks = max(input_shape[:2]), 0
    while side > 8 or blocks < 2:
        side, blocks = -(-side // 2), blocks + 1
    return [min(32 * 2**block, 128) for block in range(blocks)]


def cosine_decay(done: float) -> float:
    """From 0.002 down to nothing: large steps first, and none that undo the last ones."""
    return 0.001 * (1 + math.cos(math.pi * done))


NETWORKS: Mapping[str, Network] = {
    "mlp": Network(
        build=build_mlp,
        epochs=5,
        batch_size=32,
        steps_per_execution=50,
    ),
    "cnn": Network(
        build=build_cnn,
        epochs=8,
        batch_size=128,
        learning_rate=cosine_decay,
    ),
}
