"""A loaded model as one compiled function. The only place where a worker imports TensorFlow."""

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from messaging.heavy_imports import keras_imports
from storage.images import Pixels, Shape
from storage.preprocessing import DEFAULT, Preprocessing
from worker.errors import ModelRefused

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

with keras_imports():
    import keras
    import tensorflow as tf

    tf.config.list_physical_devices()

CHUNK_BYTES = 8 * 2**20
"""How large the largest activation may become in one call of the compiled function. More is slower
as soon as all cores work, since they share the memory; less costs more calls. The same for every
worker: the last digits of a score may depend on it."""
ROUNDING = 0.01
"""How far probabilities may be from adding up to 1: a half-precision output rounds so much."""


def limit_threads(threads: int = 1) -> None:
    """Give TensorFlow this many threads; call it once, before the first model is loaded.

    One is right for whatever is kept: the last digits of a score depend on the number of threads,
    and must not depend on how many children share a machine.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


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
            raise ModelRefused(
                f"The model {model_path} cannot be loaded: {reason_of(error)}"
            ) from error
        self._chunk = max(16, chunk_bytes // largest_activation(model, shape))

        @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.uint8)], autograph=False)
        def classify(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            probabilities = model(images, training=False)
            best = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
            return best, tf.reduce_max(probabilities, axis=-1)

        self._model = model  # its variables live as long as it does
        self._classify = classify
        self._warm_up(model_path, classes)

    def __call__(self, pixels: Pixels) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Class indices (N,) and their probabilities (N,) for uint8 pixels (N, H, W, C)."""
        starts = range(0, len(pixels), self._chunk)
        parts = [self._classify(tf.constant(pixels[i : i + self._chunk])) for i in starts]
        predictions = np.concatenate([best.numpy() for best, _ in parts])
        scores = np.concatenate([score.numpy() for _, score in parts])
        return predictions, scores.astype(np.float32, copy=False)

    def _warm_up(self, model_path: Path, classes: int) -> None:
        """Compile, and refuse a model that does not turn pixels into class probabilities."""
        images = np.zeros((2, *self.shape), np.uint8)
        images[1] = np.random.default_rng(1).integers(0, 256, self.shape)
        try:
            probabilities = np.asarray(self._model(tf.constant(images), training=False))
            # Without looking for the signature at each call: a third of the time of a single image.
            self._classify = self._classify.get_concrete_function()
            self(images)
        except Exception as error:  # a wrong input shape surfaces as one of many types
            raise ModelRefused(
                f"The model {model_path} fails its warm-up: {reason_of(error)}"
            ) from error
        if problem := find_problem(probabilities, classes):
            raise ModelRefused(f"The model {model_path} fails its warm-up: {problem}")


def reason_of(error: Exception) -> str:
    """The line of an error of Keras that tells what is wrong, without colours."""
    text = re.sub(r"\x1b\[\d*m", "", str(error)).strip()
    text = re.sub(r"^Exception encountered when calling .*\s+", "", text)
    shapes = re.search(r"Expected shape .*", text)  # an image may be printed before it
    return (shapes[0] if shapes else text.partition("\n")[0])[:300]


def find_problem(probabilities: NDArray[np.floating], classes: int) -> str | None:
    """Why this output for two images is not `classes` probabilities each, if it is not."""
    if probabilities.shape != (2, classes):
        return (
            f"its output for two images has the shape {probabilities.shape}, "
            f"where {classes} classes need (2, {classes})."
        )
    if not np.isfinite(probabilities).all():
        return "its output is not finite."
    off = np.abs(probabilities.astype(np.float64).sum(axis=1) - 1).max()
    if probabilities.min() < -ROUNDING or off > ROUNDING:
        return "its output is no probabilities, which add up to 1: end it with a softmax layer."
    return None


def largest_activation(model: keras.Model, shape: Shape) -> int:
    """Bytes of the largest float32 tensor between two layers, for one image."""
    sizes = [int(np.prod(shape))]
    for layer in model.layers:
        try:
            sizes.append(int(np.prod(layer.output.shape[1:])))
        except (AttributeError, TypeError):
            continue  # a layer with several outputs, or of unknown size
    return 4 * max(sizes)
