"""What a user would write first: pixels as JSON through Celery, `model.predict` in the task.

celery -A benchmarks.first_try worker            with BENCH_MODEL and BENCH_REDIS_URL
python -m benchmarks.first_try IMAGES.npy LIMIT BATCH_SIZE
"""

import os
import sys
import time
from typing import Any

import numpy as np
from celery import Celery

url = os.environ["BENCH_REDIS_URL"]
app = Celery("first_try", broker=url, backend=url)
model: Any = None


@app.task(name="first_try.predict")
def predict(images: list[Any]) -> list[int]:
    """Class indices of the images."""
    global model
    if model is None:
        import keras

        model = keras.saving.load_model(os.environ["BENCH_MODEL"])
    answers: list[int] = model.predict(np.array(images), verbose=0).argmax(axis=1).tolist()
    return answers


def main(path: str, limit: int, batch_size: int) -> float:
    """Images per second, warm."""
    images = np.load(path, mmap_mode="r")[:limit]
    images = images.reshape(*images.shape[:3], 1)
    for warm in [predict.delay(images[:8].tolist()) for _ in range(8)]:
        warm.get()
    began = time.perf_counter()
    batches = range(0, len(images), batch_size)
    results = [predict.delay(images[i : i + batch_size].tolist()) for i in batches]
    predictions = [p for result in results for p in result.get()]
    assert len(predictions) == limit
    return limit / (time.perf_counter() - began)


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
