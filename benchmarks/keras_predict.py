"""What the tutorial writes: `model.predict(x_test)`, all cores, one process, no queue.

python -m benchmarks.keras_predict MODEL_FOLDER IMAGES.npy LIMIT
"""

import sys
import time
from pathlib import Path

import numpy as np

from storage.models.store import Manifest


def main(folder: Path, images: Path, limit: int) -> float:
    """Images per second after one warm-up batch."""
    import keras

    manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    model = keras.saving.load_model(folder / "model.keras")
    array = np.load(images, mmap_mode="r")[:limit].reshape(-1, *manifest.input_shape)
    model.predict(array[:32], verbose=0)
    began = time.perf_counter()
    model.predict(np.asarray(array), verbose=0)
    return len(array) / (time.perf_counter() - began)


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
