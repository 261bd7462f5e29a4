"""A loaded model as one compiled function. A process calls `start_tensorflow` before."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from evaluation.ranking import Probabilities
from imaging.images import Pixels, Shape
from imaging.preprocessing import DEFAULT, Preprocessing
from process.keras_errors import reason_of
from storage.models.architecture import Architecture
from worker.errors import ModelRefused
from worker.examination.outputs import find_fault

CHUNK_BYTES = 8 * 2**20
"""How large the largest activation may become in one call of the compiled function. More is slower
as soon as all cores work, since they share the memory; less costs more calls. The same for every
worker: the last digits of a score may depend on it."""


class TensorFlowPredictor:
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
            reason = Architecture.read(model_path).obstacle(keras.__version__) or reason_of(error)
            raise ModelRefused(f"The model {model_path} cannot be loaded: {reason}") from error
        self.chunk = max(16, chunk_bytes // largest_activation(model, shape))
        self.chunks = (self.chunk,)

        @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.uint8)], autograph=False)
        def predict(images: tf.Tensor) -> tf.Tensor:
            (probabilities,) = keras.tree.flatten(model(images, training=False))
            return tf.cast(probabilities, tf.float32)

        self._model = model  # its variables live as long as it does
        self._predict = predict
        self._warm_up(model_path, classes)

    def __call__(self, pixels: Pixels) -> Probabilities:
        """Probabilities (N, classes) for uint8 pixels (N, H, W, C)."""
        starts = range(0, len(pixels), self.chunk)
        parts = (self._predict(tf.constant(pixels[i : i + self.chunk])) for i in starts)
        return np.concatenate([part.numpy() for part in parts])

    def _warm_up(self, model_path: Path, classes: int) -> None:
        """Compile, and refuse a model that does not turn pixels into class probabilities."""
        images = np.zeros((2, *self.shape), np.uint8)
        images[1] = np.random.default_rng(1).integers(0, 256, self.shape)
        try:
            outputs = keras.tree.flatten(self._model(tf.constant(images), training=False))
            arrays = [np.asarray(output) for output in outputs]
            fault = find_fault(arrays, classes)
            if fault is None:
                # Without looking for the signature at each call: a third of the time of one image.
                self._predict = self._predict.get_concrete_function()
                self(images)
        except Exception as error:  # a wrong input shape surfaces as one of many types
            raise ModelRefused(
                f"The model {model_path} fails its warm-up: {reason_of(error)}"
            ) from error
        if fault:
            raise ModelRefused(f"The model {model_path} fails its warm-up: {fault}")


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
