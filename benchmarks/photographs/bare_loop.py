"""A process per core that reads, decodes and classifies as a worker's child does, without a queue.

    python -m benchmarks.photographs.bare_loop RUNTIME MODEL_FOLDER FOLDER PROCESSES

Prints JSON as `programs` wants it.
"""

import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np

from storage.models.store import FILE_OF, Manifest


def loop(
    runtime: str, model: Path, paths: Sequence[Path], gate: Barrier, moments: "SimpleQueue[float]"
) -> None:
    """Classify these files, a call's worth at a time."""
    from imaging.images import decode_image
    from worker.runtimes.predictor import Predictor

    manifest = Manifest.model_validate_json((model / "manifest.json").read_bytes())
    about = manifest.input_shape, len(manifest.labels), manifest.preprocessing
    predictor: Predictor
    if runtime == "onnx":
        from worker.runtimes.onnx import OnnxPredictor

        predictor = OnnxPredictor(model / FILE_OF["onnx"], *about)
    else:
        from worker.runtimes.startup import start_tensorflow

        start_tensorflow()

        from worker.runtimes.tensorflow import TensorFlowPredictor

        predictor = TensorFlowPredictor(model / FILE_OF["keras"], *about)
    gate.wait()
    kept = []
    for first in range(0, len(paths), predictor.chunk):
        contents = [path.read_bytes() for path in paths[first : first + predictor.chunk]]
        images = [decode_image(each, predictor.shape, predictor.preprocessing) for each in contents]
        kept.append(predictor(np.stack(images)))
        if not first:
            moments.put(time.time())
    moments.put(time.time())
    assert sum(map(len, kept)) == len(paths)


def main(runtime: str, model: Path, folder: Path, processes: int) -> dict[str, float]:
    """Classify the folder once."""
    context = multiprocessing.get_context("spawn")
    gate, moments = context.Barrier(processes + 1), context.SimpleQueue()
    paths = sorted(folder.iterdir())
    workers = [
        context.Process(target=loop, args=(runtime, model, paths[i::processes], gate, moments))
        for i in range(processes)
    ]
    for worker in workers:
        worker.start()
    gate.wait()
    ready = time.time()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise SystemExit(f"a process ended with {worker.exitcode}")
    told = [moments.get() for _ in range(2 * processes)]
    return {"ready": ready, "first": min(told), "done": max(told)}


if __name__ == "__main__":
    found = main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    print(json.dumps(found))
