"""Ray Data: `map_batches` with an actor pool, two actors of one core each.

    python peers/ray_data.py MODEL.keras IMAGES.npy LIMIT BATCH_SIZE

Needs the environment of `peers/requirements.txt`; imports nothing of batchsight.
"""

import os
import sys
import time
from typing import Any

os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"

import numpy as np
import ray


class Classifier:
    """One actor with the model as a compiled function, as the reference has it."""

    def __init__(self, path: str) -> None:
        import keras
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        model = keras.saving.load_model(path, compile=False)
        spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)
        self._classify = tf.function(
            lambda x: tf.argmax(model(x, training=False), axis=-1), input_signature=[spec]
        )
        self._shape = model.input_shape[1:]
        self._classify(np.zeros((1, *self._shape), np.uint8))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        images = batch["data"].reshape(-1, *self._shape)
        return {"prediction": self._classify(images).numpy()}


def main(model: str, path: str, limit: int, batch_size: int) -> float:
    """Images per second, the actors being warm: the second of two runs over the data."""
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
    images = np.load(path)[:limit]
    speed = 0.0
    for _ in range(2):
        dataset = ray.data.from_numpy(np.array_split(images, max(2, limit // 100_000)))
        began = time.perf_counter()
        predicted = dataset.map_batches(
            Classifier,
            fn_constructor_args=(model,),
            batch_size=batch_size,
            concurrency=2,
            num_cpus=1,
            zero_copy_batch=True,
        )
        rows = sum(len(b["prediction"]) for b in predicted.iter_batches(batch_size=None))
        assert rows == limit
        speed = limit / (time.perf_counter() - began)
    ray.shutdown()
    return speed


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
