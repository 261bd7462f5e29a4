"""A version whose artefact is an ONNX graph, run by ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnxruntime

from evaluation.ranking import Probabilities
from imaging.images import Pixels, Shape
from imaging.preprocessing import DEFAULT, Preprocessing
from worker.errors import ModelRefused
from worker.examination.outputs import find_fault

FEWEST_IMAGES = 4
"""Photographs at a time: 16 take MobileNetV2 and EfficientNetB0 a tenth longer each."""
CHUNK_BYTES = 8 * 2**20
"""As for TensorFlow, of a network about which nothing is known."""
WIDENING = 16
"""So many times the numbers of its input a network's largest activation has, as a rule."""
TRIALS = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4)
"""It may have one or a hundred, so what is kept by the processor's caches is tried out."""


class OnnxPredictor:
    """One model version, ready to classify."""

    def __init__(
        self,
        model_path: Path,
        shape: Shape,
        classes: int,
        preprocessing: Preprocessing = DEFAULT,
        *,
        chunk: int | None = None,
    ) -> None:
        self.shape = shape
        self.preprocessing = preprocessing
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                model_path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime has a dozen, of no common base
            raise ModelRefused(
                f"The model {model_path} cannot be loaded: {first_line(error)}"
            ) from error
        (given,) = self._session.get_inputs()
        self._input = given.name
        batch = given.shape[0]
        self._batch = batch if isinstance(batch, int) else None
        affordable = CHUNK_BYTES // (4 * WIDENING * int(np.prod(shape)))
        usual = max(FEWEST_IMAGES, affordable)
        self.chunk = self._batch or chunk or usual
        trials = {max(FEWEST_IMAGES, round(share * usual)) for share in TRIALS}
        self.chunks = (self._batch,) if self._batch else tuple(sorted(trials))
        self._warm_up(model_path, classes)

    def __call__(self, pixels: Pixels) -> Probabilities:
        """Probabilities (N, classes) for uint8 pixels (N, H, W, C)."""
        starts = range(0, len(pixels), self.chunk)
        return np.concatenate([self._run(pixels[i : i + self.chunk]) for i in starts])

    def _run(self, pixels: Pixels) -> Probabilities:
        count = len(pixels)
        if self._batch and count < self._batch:
            missing = np.zeros((self._batch - count, *self.shape), np.uint8)
            pixels = np.concatenate([pixels, missing])
        (probabilities,) = self._session.run(None, {self._input: np.ascontiguousarray(pixels)})
        return np.asarray(probabilities, np.float32)[:count]

    def _warm_up(self, model_path: Path, classes: int) -> None:
        """Refuse a graph that does not turn pixels into class probabilities."""
        images = np.zeros((2, *self.shape), np.uint8)
        images[1] = np.random.default_rng(1).integers(0, 256, self.shape)
        try:
            fault = find_fault([self(images)], classes)
        except Exception as error:  # ONNX Runtime has a dozen, of no common base
            raise ModelRefused(
                f"The model {model_path} fails its warm-up: {first_line(error)}"
            ) from error
        if fault:
            raise ModelRefused(f"The model {model_path} fails its warm-up: {fault}")


def first_line(error: Exception) -> str:
    """What ONNX Runtime says is wrong, without its code and the rest."""
    return str(error).strip().partition("\n")[0][:300]
