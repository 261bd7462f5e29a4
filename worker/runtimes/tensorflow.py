"""A loaded model as one compiled function. A process calls `start_tensorflow` before."""

import re
import textwrap
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from imaging.images import Pixels, Shape
from imaging.preprocessing import DEFAULT, Preprocessing
from storage.models.architecture import Architecture
from worker.errors import ModelRefused
from worker.examination.outputs import find_fault

REASON_LENGTH = 300
CHUNK_BYTES = 8 * 2**20
"""How large the largest activation may become in one call of the compiled function. More is slower
as soon as all cores work, since they share the memory; less costs more calls. The same for every
worker: the last digits of a score may depend on it."""


class Predictor:
    """One model version, ready to classify.

    A `tf.function` with one signature neither retraces for a short last batch nor leaks, both of
    which `model.predict` in a loop does.
    """

    def __init__(
        self,
        model_path: Path,
        shape: Shape,
        classes: int,
        preprocessing: Preprocessing = DEFAULT,
        *,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self.shape = shape
        self.preprocessing = preprocessing
        try:
            model = keras.saving.load_model(model_path, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises whatever its deserialisation runs into
            reason = find_obstacle(Architecture.read(model_path)) or reason_of(error)
            raise ModelRefused(f"The model {model_path} cannot be loaded: {reason}") from error
        self.chunk = max(16, chunk_bytes // largest_activation(model, shape))
        """How many images it takes at a time."""

        @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.uint8)], autograph=False)
        def classify(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            (probabilities,) = keras.tree.flatten(model(images, training=False))
            best = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
            return best, tf.reduce_max(probabilities, axis=-1)

        self._model = model  # its variables live as long as it does
        self._classify = classify
        self._warm_up(model_path, classes)

    def __call__(self, pixels: Pixels) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Class indices (N,) and their probabilities (N,) for uint8 pixels (N, H, W, C)."""
        starts = range(0, len(pixels), self.chunk)
        parts = [self._classify(tf.constant(pixels[i : i + self.chunk])) for i in starts]
        predictions = np.concatenate([best.numpy() for best, _ in parts])
        scores = np.concatenate([score.numpy() for _, score in parts])
        return predictions, scores.astype(np.float32, copy=False)

    def classify_scaled(self, pixels: NDArray[np.float32]) -> NDArray[np.int32]:
        """Class indices (N,) for pixels (N, H, W, C) of another scale than 0 to 255."""
        starts = range(0, len(pixels), self.chunk)
        parts = (self._model(pixels[i : i + self.chunk], training=False) for i in starts)
        outputs = np.concatenate([np.asarray(*keras.tree.flatten(part)) for part in parts])
        best: NDArray[np.int32] = outputs.argmax(axis=1).astype(np.int32)
        return best

    def _warm_up(self, model_path: Path, classes: int) -> None:
        """Compile, and refuse a model that does not turn pixels into class probabilities."""
        images = np.zeros((2, *self.shape), np.uint8)
        images[1] = np.random.default_rng(1).integers(0, 256, self.shape)
        try:
            outputs = keras.tree.flatten(self._model(tf.constant(images), training=False))
            arrays = [np.asarray(output) for output in outputs]
            fault = find_fault(arrays, classes, last_activation(self._model))
            if fault is None:
                # Without looking for the signature at each call: a third of the time of one image.
                self._classify = self._classify.get_concrete_function()
                self(images)
        except Exception as error:  # a wrong input shape surfaces as one of many types
            raise ModelRefused(
                f"The model {model_path} fails its warm-up: {reason_of(error)}"
            ) from error
        if fault:
            raise ModelRefused(
                f"The model {model_path} fails its warm-up: {fault.sentence}", fault.remedy
            )


def last_activation(model: keras.Model) -> str | None:
    """The name of the activation that a network ends with, if it is known."""
    layer = model.layers[-1] if model.layers else None
    if isinstance(layer, keras.Model):
        return last_activation(layer)
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    name = getattr(getattr(layer, "activation", None), "__name__", None)
    return name if isinstance(name, str) else None


def reason_of(error: Exception) -> str:
    """The line of an error of Keras that tells what is wrong, without colours."""
    text = re.sub(r"\x1b\[\d*m", "", str(error)).strip()
    text = re.sub(r"^Exception encountered when calling .*\s+", "", text)
    # What matters may come after an image, or a whole configuration, or a list of layers.
    for where in (r"Expected shape .*", r"(?s:.*)Exception encountered: (.*)", r"object .*:\s+.*"):
        if found := re.search(where, text):
            return textwrap.shorten(found[found.re.groups], REASON_LENGTH)
    return textwrap.shorten(text.partition("\n")[0], REASON_LENGTH)


def find_obstacle(architecture: Architecture) -> str | None:
    """Why Keras refuses a file, as far as its configuration shows it."""
    instead = "Put layers of Keras or functions of keras.ops in its place, and save it again."
    if architecture.code:
        layer, kind = architecture.code
        return (
            f"its layer {layer!r} is a {kind}, which holds code of its own, and no worker runs "
            f"that. {instead}"
        )
    if architecture.foreign:
        part, kind = architecture.foreign
        return f"its {part} is a {kind}, which is no part of Keras. {instead}"
    written = architecture.keras or keras.__version__
    if written.startswith("2."):
        return (
            f"it was written by Keras {written}, and Keras 3 cannot load it: load it with "
            "tf-keras, save it as .h5, load that with Keras 3 and save it as .keras."
        )
    if version_of(written) > version_of(keras.__version__):
        return (
            f"it was written by Keras {written}, and here is the older Keras {keras.__version__}: "
            "save it with this one, or update batchsight."
        )
    return None


def version_of(text: str) -> tuple[int, ...]:
    """A version to compare, `3.9` before `3.10`."""
    return tuple(map(int, re.findall(r"\d+", text)[:2]))


def largest_activation(model: keras.Model, shape: Shape) -> int:
    """Bytes of the largest float32 tensor between two layers, for one image."""
    sizes = [4 * int(np.prod(shape))]
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            sizes.append(largest_activation(layer, shape))
        try:
            sizes.append(4 * int(np.prod(layer.output.shape[1:])))
        except (AttributeError, TypeError):
            continue  # a layer with several outputs, or of unknown size
    return max(sizes)
