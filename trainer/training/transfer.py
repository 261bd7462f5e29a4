"""A new head on what another network has learned: first the head alone, then the upper layers too.

Lower layers see edges and colours, which are the same everywhere, and stay as they are. So does
every batch normalisation: a few hundred images would spoil what it knows of many more.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from process.keras_errors import reason_of
from storage.models.contract import Source
from storage.models.store import ModelVersion
from trainer.errors import TrainingFailed

if TYPE_CHECKING:
    from storage.datasets.store import DataSet

FROZEN_SHARE = 0.5
"""Of the layers with weights, counted from the pixels."""
DROPOUT = 0.2
HEAD_EPOCHS = 60
HEAD_PATIENCE = 5
HEAD_RATE = 0.001
HEAD_BATCH = 32
HEAD_IMAGES = 20_000
"""Features of so many images, at most, are held in memory to learn a head from."""
CHUNK = 64
SOURCE_IN_WORDS: Mapping[Source, str] = {
    "keras": "a Keras model",
    "keras-2": "a model of Keras 2",
    "saved-model": "a SavedModel",
    "onnx": "an ONNX file",
}


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """A network in two parts: uint8 images (N, H, W, C) to features (N, F) to probabilities."""

    features: keras.Model
    head: keras.Model

    @classmethod
    def of(cls, features: keras.Model, classes: int) -> "Transfer":
        """Put a new head on a network, and say which of its layers are trained."""
        pooled = pool(features)
        freeze(pooled)
        head = keras.Sequential(
            [
                keras.Input(pooled.output.shape[1:]),
                keras.layers.Dropout(DROPOUT, dtype="float32"),
                keras.layers.Dense(classes, activation="softmax", dtype="float32"),
            ],
            name="head",
        )
        return cls(features=pooled, head=head)

    def model(self, name: str) -> keras.Model:
        """Both parts as one network."""
        pixels = self.features.inputs[0]
        return keras.Model(pixels, self.head(self.features.output), name=name)

    def fit_head(
        self,
        dataset: "DataSet",
        training: NDArray[np.int64],
        validation: NDArray[np.int64],
    ) -> dict[str, float]:
        """Train the head alone, on features that are computed once; Keras' logs of it."""
        seen = self._features(dataset, training[:HEAD_IMAGES])
        held_back = self._features(dataset, validation[:HEAD_IMAGES])
        self.head.compile(
            optimizer=keras.optimizers.Adam(HEAD_RATE),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        stop = keras.callbacks.EarlyStopping(patience=HEAD_PATIENCE, restore_best_weights=True)
        self.head.fit(
            *seen,
            batch_size=HEAD_BATCH,
            epochs=HEAD_EPOCHS,
            validation_data=held_back,
            callbacks=[stop],
            verbose=0,
        )
        logs: dict[str, float] = self.head.evaluate(*seen, verbose=0, return_dict=True)
        held = self.head.evaluate(*held_back, verbose=0, return_dict=True)
        return logs | {f"val_{measure}": value for measure, value in held.items()}

    def _features(self, dataset: "DataSet", rows: NDArray[np.int64]) -> tuple[Any, Any]:
        """Features (n, F) of some training images, and their labels (n,)."""
        images, rows = dataset.images("train"), np.sort(rows)
        parts = [
            np.asarray(self.features.predict_on_batch(images[rows[start : start + CHUNK]]))
            for start in range(0, len(rows), CHUNK)
        ]
        return np.concatenate(parts).astype(np.float32), dataset.labels("train")[rows]


def features_of(version: ModelVersion) -> keras.Model:
    """A published version without its head; raises `TrainingFailed`."""
    if "tensorflow" not in version.manifest.digests:
        source = version.manifest.contract.source if version.manifest.contract else "onnx"
        raise TrainingFailed(
            f"{version} was imported from {SOURCE_IN_WORDS[source]} and is an ONNX graph, which "
            "can answer but not learn: import the same network as a model of Keras 3."
        )
    version = version.on("tensorflow")
    version.verify()
    try:
        model = keras.saving.load_model(version.model_path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its deserialisation runs into
        raise TrainingFailed(f"{version} cannot be loaded: {reason_of(error)}") from None
    try:
        return without_head(model)
    except (AttributeError, ValueError) as error:
        raise TrainingFailed(
            f"{version} cannot be started from: it has to end in a dense layer or a convolution "
            f"that gives the classes ({error})."
        ) from None


def without_head(model: keras.Model) -> keras.Model:
    """A network up to its last layer with weights, that one and all after it left out.

    Raises `ValueError` when that is no dense layer or convolution, and `AttributeError` when it
    is used several times or in a model of no fixed layers.
    """
    place, last = [(i, layer) for i, layer in enumerate(model.layers) if layer.weights][-1]
    if isinstance(last, keras.Model):
        inner, after = without_head(last), model.layers[place + 1 :]
        if isinstance(model, keras.Sequential):
            x = model.inputs[0]
            for layer in model.layers[:place]:
                x = layer(x)
            return keras.Model(model.inputs[0], inner(x))

        def call(layer: Any, *given: Any, **options: Any) -> Any:
            if layer is last:
                return inner(*given, **options)
            if any(layer is left_out for left_out in after):
                return keras.tree.flatten(given)[0]
            return layer(*given, **options)

        return keras.models.clone_model(
            model, clone_function=lambda layer: layer, call_function=call
        )
    if not isinstance(last, (keras.layers.Dense, keras.layers.Conv2D)):
        raise ValueError(f"it ends in {type(last).__name__}")
    return keras.Model(model.inputs[0], last.input)


def pool(features: keras.Model) -> keras.Model:
    """The same with one row of features (N, F) for an image."""
    output = features.output
    if len(output.shape) == 4:
        output = keras.layers.GlobalAveragePooling2D(dtype="float32")(output)
    elif len(output.shape) != 2:
        output = keras.layers.Flatten(dtype="float32")(output)
    return keras.Model(features.inputs[0], output, name="features")


def freeze(model: keras.Model) -> None:
    """Leave only the upper layers to be trained."""
    layers = list(weighted_layers(model))
    fixed = round(FROZEN_SHARE * len(layers))
    for place, layer in enumerate(layers):
        normalises = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = place >= fixed and not normalises


def weighted_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """All layers with weights, those of networks inside in their place."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from weighted_layers(layer)
        elif layer.weights:
            yield layer
