"""How a process of a worker begins with TensorFlow."""

import gc
import os
from functools import cache

from process.heavy_imports import keras_imports


@cache
def start_tensorflow(threads: int = 1) -> None:
    """Import TensorFlow and give it this many threads, before a model is loaded.

    One is right for whatever is kept: the last digits of a score depend on the number of threads,
    and must not depend on how many children share a machine.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with keras_imports():
        import keras  # noqa: F401 (as quietly as what it is made of)
        import tensorflow as tf

        for card in tf.config.list_physical_devices("GPU"):  # not the whole card by surprise
            tf.config.experimental.set_memory_growth(card, True)

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    # TensorFlow's objects stay: looking through them takes twice as long as changing the model.
    gc.freeze()
