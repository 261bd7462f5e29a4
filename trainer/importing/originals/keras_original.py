"""A model that Keras 3 loads, and the same with layers put around it."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from imaging.images import Shape
from process.keras_errors import reason_of
from storage.models.architecture import Architecture
from storage.models.contract import ONE_UNIT, Contract
from storage.models.store import FILE_OF, ArtefactFormat
from trainer.errors import ImportFailed
from trainer.importing.originals.keras_file import named_by_content
from trainer.importing.originals.original import Facts, Outputs, in_batches


class KerasOriginal:
    """A `.keras` or `.h5` file of Keras 3."""

    def __init__(self, path: Path, architecture: Architecture) -> None:
        self._path = path
        try:
            with named_by_content(path) as file:
                self._model = keras.saving.load_model(file, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises whatever its deserialisation runs into
            reason = architecture.obstacle(keras.__version__) or reason_of(error)
            raise ImportFailed(f"{path} is not published: it cannot be loaded: {reason}") from None
        inputs = architecture.inputs
        if len(inputs) > 1:
            names = ", ".join(known.name for known in inputs)
            raise ImportFailed(
                f"{path} takes {len(inputs)} inputs ({names}), and only an image is given: "
                "save a model that has the others built in."
            )
        (given,) = inputs or (None,)
        self._batch = given.shape[0] if given else None
        self.facts = Facts(
            source="keras",
            shape=given.shape[1:] if given else (None, None, None),
            dtype=given.dtype if given else "float32",
            scales=architecture.scales,
            activation=last_activation(self._model),
            outputs=tuple(architecture.outputs.values()) or ("output",),
            framework=f"keras {architecture.keras}" if architecture.keras else None,
        )

    def __call__(self, images: NDArray[np.generic]) -> list[Outputs]:
        """Its outputs for images (N, ...) as it takes them."""
        return in_batches(self._run, images, None)

    def _run(self, images: NDArray[np.generic]) -> list[Outputs]:
        try:
            outputs = keras.tree.flatten(called(self._model, tf.constant(images)))
        except Exception:  # Keras raises whatever its layers run into
            if self._batch is None:
                raise
            raise ImportFailed(
                f"{self._path} takes a fixed number of images at a time, {self._batch}: "
                "save it with an open number, by keras.Input(shape) without batch_size."
            ) from None
        return [np.asarray(tf.cast(output, tf.float32)) for output in outputs]

    def write(self, folder: Path, contract: Contract, shape: Shape) -> ArtefactFormat:
        """The file itself if nothing has to be put around the network."""
        as_it_is = self.facts.shape == tuple(shape) and zipfile.is_zipfile(self._path)
        if as_it_is and not contract.wraps and is_plain(self._model, shape):
            shutil.copyfile(self._path, folder / FILE_OF["keras"])
            return "keras"
        pixels = keras.Input(shape, dtype="uint8", name="pixels")
        answer = around(self._model, pixels, contract, shape)
        keras.Model(pixels, answer).save(folder / FILE_OF["keras"])
        return "keras"


def around(model: Any, pixels: Any, contract: Contract, shape: Shape) -> Any:
    """Probabilities (N, classes) of the network for uint8 pixels (N, H, W, C), as Keras tensors."""
    full = {"dtype": "float32"}  # whatever the network computes in
    scaled = keras.layers.Rescaling(1.0, **full)(pixels)
    scaling = contract.scaling
    if scaling.bgr:
        scaled = keras.ops.flip(scaled, axis=-1)
    if set(scaling.mean) != {0.0} or set(scaling.deviation) != {1.0}:
        mean, deviation = np.array(scaling.mean), np.array(scaling.deviation)
        scaled = keras.layers.Rescaling(
            numbers(1 / deviation), offset=numbers(-mean / deviation), **full
        )(scaled)
    match contract.layout:
        case "nchw":
            scaled = keras.layers.Permute((3, 1, 2))(scaled)
        case "nhw":
            scaled = keras.layers.Reshape(shape[:2])(scaled)
        case "flat":
            scaled = keras.layers.Flatten()(scaled)
    (answer,) = keras.tree.flatten(called(model, scaled))
    if len(answer.shape) > 2:
        answer = keras.layers.Flatten()(answer)
    match contract.output:
        case "log-probabilities":
            answer = keras.layers.Activation("exponential", **full)(answer)
        case "logits":
            answer = keras.layers.Softmax(**full)(answer)
        case "sigmoid-logit":
            answer = keras.layers.Activation("sigmoid", **full)(answer)
        case "tanh":
            answer = keras.layers.Rescaling(0.5, offset=0.5, **full)(answer)
    if contract.output in ONE_UNIT:
        first = keras.layers.Rescaling(-1.0, offset=1.0, **full)(answer)
        answer = keras.layers.Concatenate(**full)([first, answer])
    return answer


def called(model: Any, images: Any) -> Any:
    """What a network gives for images, which it may take in a list or by a name."""
    taken = getattr(model, "input", None)
    if isinstance(taken, dict | list | tuple):
        images = keras.tree.pack_sequence_as(taken, [images])
    return model(images, training=False)


def is_plain(model: Any, shape: Shape) -> bool:
    """Whether it takes images as they are, and gives nothing but a row of numbers for each."""
    if isinstance(getattr(model, "input", None), dict | list | tuple):
        return False
    answer = model(np.zeros((1, *shape), np.uint8), training=False)
    return tf.is_tensor(answer) and len(answer.shape) == 2


def numbers(array: np.ndarray) -> float | list[float]:
    """One number, or one a channel, as a layer's configuration holds them."""
    found: list[float] = array.tolist()
    return found if len(found) > 1 else found[0]


def last_activation(model: keras.Model) -> str | None:
    """The name of the activation that a network ends with, if it is known."""
    layer = model.layers[-1] if model.layers else None
    if isinstance(layer, keras.Model):
        return last_activation(layer)
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    name = getattr(getattr(layer, "activation", None), "__name__", None)
    return name if isinstance(name, str) else None
