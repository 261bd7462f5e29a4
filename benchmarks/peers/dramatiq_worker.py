"""Dramatiq with the same reference passing as batchsight: messages name slices of an array.

    dramatiq peers.dramatiq_worker --processes 2 --threads 1
    python -m peers.dramatiq_worker IMAGES.npy LIMIT BATCH_SIZE

Needs BENCH_REDIS_URL, BENCH_MODEL, BENCH_OUT; results are files, waited for by listing them.
"""

import os
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import dramatiq
import numpy as np
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_REDIS_URL"]))


@cache
def classifier() -> Any:
    """The compiled function, loaded once per process."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    model = keras.saving.load_model(os.environ["BENCH_MODEL"], compile=False)
    spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)
    return tf.function(
        lambda x: tf.argmax(model(x, training=False), axis=-1), input_signature=[spec]
    )


@cache
def images(path: str) -> Any:
    """The memory-mapped array."""
    array = np.load(path, mmap_mode="r")
    return array.reshape(*array.shape[:3], -1)


@dramatiq.actor
def predict(path: str, first: int, last: int, run: str) -> None:
    """Classify one slice and write its predictions."""
    predictions = classifier()(images(path)[first:last]).numpy()
    target = Path(os.environ["BENCH_OUT"], f"{run}-{first:09d}.npy")
    with target.with_suffix(".new").open("wb") as file:
        np.save(file, predictions)
    target.with_suffix(".new").rename(target)


def classify(path: str, limit: int, batch_size: int, run: str) -> float:
    """Images per second from the first message to the last merged prediction."""
    out = Path(os.environ["BENCH_OUT"])
    began = time.perf_counter()
    starts = range(0, limit, batch_size)
    for first in starts:
        predict.send(path, first, min(first + batch_size, limit), run)
    while len(list(out.glob(f"{run}-*.npy"))) < len(starts):
        time.sleep(0.02)
    merged = np.concatenate([np.load(p) for p in sorted(out.glob(f"{run}-*.npy"))])
    assert len(merged) == limit
    return limit / (time.perf_counter() - began)


if __name__ == "__main__":
    classify(sys.argv[1], 20_000, 1_000, "warm")
    print(classify(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), f"run{time.time_ns()}"))
