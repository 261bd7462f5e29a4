"""The physical reference: processes that loop over the array with the compiled function, no queue.

    python -m benchmarks.reference MODEL_FOLDER IMAGES.npy PROCESSES BATCH_SIZE

Prints images per second, from a common start to the last process's end, after a warm-up.
"""

import multiprocessing
import os
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np

from storage.models.store import Manifest


def loop(folder: Path, images: Path, part: int, parts: int, batch_size: int, gate: Barrier) -> None:
    """Classify every `parts`-th batch, beginning with batch `part`."""
    from worker.runtimes.startup import start_tensorflow

    threads = max(1, len(os.sched_getaffinity(0)) // parts)
    start_tensorflow(threads)

    from worker.runtimes.tensorflow import CHUNK_BYTES, TensorFlowPredictor

    manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    predictor = TensorFlowPredictor(
        folder / "model.keras",
        manifest.input_shape,
        len(manifest.labels),
        chunk_bytes=threads * CHUNK_BYTES,  # which is faster where several share a call
    )
    array = np.load(images, mmap_mode="r").reshape(-1, *manifest.input_shape)
    predictor(array[:batch_size])
    gate.wait()
    kept = [
        predictor(array[first : first + batch_size])
        for first in range(part * batch_size, len(array), parts * batch_size)
    ]
    gate.wait()
    assert sum(map(len, kept)) > 0


def measure(folder: Path, images: Path, processes: int, batch_size: int) -> float:
    """Images per second over the whole array with this many processes."""
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(processes + 1)
    workers = [
        context.Process(target=loop, args=(folder, images, i, processes, batch_size, gate))
        for i in range(processes)
    ]
    for worker in workers:
        worker.start()
    gate.wait()
    began = time.perf_counter()
    gate.wait()
    seconds = time.perf_counter() - began
    for worker in workers:
        worker.join()
    return len(np.load(images, mmap_mode="r")) / seconds


if __name__ == "__main__":
    model, array, count, size = sys.argv[1:]
    print(measure(Path(model), Path(array), int(count), int(size)))
