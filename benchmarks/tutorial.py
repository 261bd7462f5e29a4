"""The training of TensorFlow's tutorial for beginners, as it stands there, without a progress bar.

    python -m benchmarks.tutorial STORAGE

Prints JSON: `seconds` of `model.fit`, and `accuracy` over the test images.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from storage.datasets.store import DatasetStore


def main(storage: Path) -> None:
    """Train and test once."""
    import keras
    from keras import layers

    mnist = DatasetStore(storage).get("mnist")
    x_train, y_train, x_test, y_test = (
        np.array(array)
        for split in ("train", "test")
        for array in (mnist.images(split)[..., 0], mnist.labels(split))
    )
    x_train, x_test = np.divide(x_train, 255.0), np.divide(x_test, 255.0)
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    began = time.perf_counter()
    model.fit(x_train, y_train, epochs=5, batch_size=32, verbose=0)
    seconds = time.perf_counter() - began
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(json.dumps({"seconds": seconds, "accuracy": accuracy}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
