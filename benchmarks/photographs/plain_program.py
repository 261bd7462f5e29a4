"""What one would write without batchsight: one process, parallel decoding, one compiled function.

    python -m benchmarks.photographs.plain_program PIPELINE MODEL.keras FOLDER

`tf.data` lists, reads and decodes as TensorFlow's guide to data performance has it; `keras` is
`image_dataset_from_directory`. Prints JSON as `programs` wants it.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 32


def main(pipeline: str, model_path: str, folder: Path) -> dict[str, float]:
    """Classify the folder once."""
    import keras
    import tensorflow as tf

    model = keras.saving.load_model(model_path, compile=False)
    height, width, _ = shape = model.input_shape[1:]
    spec = tf.TensorSpec((None, *shape), tf.uint8)
    classify = tf.function(
        lambda x: tf.argmax(model(x, training=False), axis=-1), input_signature=[spec]
    )
    classify(np.zeros((1, *shape), np.uint8))
    ready = time.time()

    def load(path: Any) -> Any:
        pixels = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.image.resize(pixels, (height, width))

    if pipeline == "tf.data":
        paths = tf.data.Dataset.list_files(f"{folder}/*.jpg", shuffle=False)
        images = paths.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH)
        images = images.prefetch(tf.data.AUTOTUNE)
    else:
        images = keras.utils.image_dataset_from_directory(
            folder,
            labels=None,
            image_size=(height, width),
            batch_size=BATCH,
            shuffle=False,
            verbose=False,
        )
    first, predictions = 0.0, []
    for batch in images:
        predictions.append(classify(tf.cast(batch, tf.uint8)).numpy())
        first = first or time.time()
    assert len(np.concatenate(predictions)) == len(list(folder.iterdir()))
    return {"ready": ready, "first": first, "done": time.time()}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))))
