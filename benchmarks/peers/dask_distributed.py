"""Dask with the same reference passing as batchsight: tasks name slices of an array.

    python peers/dask_distributed.py MODEL.keras IMAGES.npy LIMIT BATCH_SIZE

Two worker processes of one thread, as its documentation has it for code that holds the GIL; results
are gathered in memory. Needs the environment of `peers/requirements.txt`.
"""

import sys
import time
from functools import cache
from typing import Any

import numpy as np
from dask.distributed import Client, LocalCluster


@cache
def classifier(model_path: str) -> Any:
    """The compiled function, loaded once per process."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    model = keras.saving.load_model(model_path, compile=False)
    spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)
    return tf.function(
        lambda x: tf.argmax(model(x, training=False), axis=-1), input_signature=[spec]
    )


@cache
def images(path: str) -> Any:
    """The memory-mapped array."""
    array = np.load(path, mmap_mode="r")
    return array.reshape(*array.shape[:3], -1)


def predict(span: tuple[int, int], model_path: str, path: str) -> Any:
    """Classify one slice."""
    return classifier(model_path)(images(path)[slice(*span)]).numpy()


def main(model: str, path: str, limit: int, batch_size: int) -> float:
    """Images per second, the workers being warm: the second of two runs over the data."""
    speed = 0.0
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        for _ in range(2):
            spans = [(i, min(i + batch_size, limit)) for i in range(0, limit, batch_size)]
            began = time.perf_counter()
            # Impure: else the second run would be answered from the results of the first.
            futures = client.map(predict, spans, model_path=model, path=path, pure=False)
            merged = np.concatenate(client.gather(futures))
            speed = limit / (time.perf_counter() - began)
            assert len(merged) == limit
    return speed


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
