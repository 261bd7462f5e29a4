"""Ray Data: `read_images`, then `map_batches` with an actor per core.

    python peers/ray_photographs.py tensorflow|onnx MODEL FOLDER SIDE

Needs the environment of `peers/requirements.txt`; imports nothing of batchsight. Prints JSON,
moments in seconds since 1970: `ready` when the first actor has its model, `first` when the first
batch is classified, `done` when all are.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"

import numpy as np
import ray

BATCH = 32
CORES = len(os.sched_getaffinity(0))


class Classifier:
    """One actor with the model, as a compiled function or as a session."""

    def __init__(self, runtime: str, path: str) -> None:
        self._classify = {"tensorflow": tensorflow, "onnx": onnx}[runtime](path)
        self._ready = time.time()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        predictions = self._classify(batch["image"])
        moments = np.full(len(predictions), self._ready)
        return {"prediction": predictions, "ready": moments}


def tensorflow(path: str) -> Any:
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    model = keras.saving.load_model(path, compile=False)
    spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)
    classify = tf.function(
        lambda x: tf.argmax(model(x, training=False), axis=-1), input_signature=[spec]
    )
    classify(np.zeros((1, *model.input_shape[1:]), np.uint8))
    return lambda images: classify(images).numpy()


def onnx(path: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda images: session.run(None, {given.name: images})[0].argmax(axis=-1)


def main(runtime: str, model: str, folder: str, side: int) -> dict[str, float]:
    """Classify the folder once."""
    ray.init(num_cpus=CORES, include_dashboard=False, logging_level="ERROR")
    images = ray.data.read_images(folder, size=(side, side), mode="RGB")
    predicted = images.map_batches(
        Classifier,
        fn_constructor_args=(runtime, model),
        batch_size=BATCH,
        concurrency=CORES,
        num_cpus=0.5,  # the other half is for reading
    )
    first, ready, rows = 0.0, float("inf"), 0
    for batch in predicted.iter_batches(batch_size=None):
        first = first or time.time()
        ready = min(ready, batch["ready"].min())
        rows += len(batch["prediction"])
    done = time.time()
    assert rows == len(list(Path(folder).iterdir()))
    ray.shutdown()
    return {"ready": ready, "first": first, "done": done}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))))
