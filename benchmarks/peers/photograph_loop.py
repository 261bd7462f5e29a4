"""OpenVINO or LiteRT with Pillow in a loop, a process of one thread per core.

    python peers/photograph_loop.py openvino MODEL.onnx FOLDER SIDE
    python peers/photograph_loop.py litert MODEL.tflite FOLDER SIDE

Needs the environment of `peers/requirements.txt`; imports nothing of batchsight. Prints JSON,
moments in seconds since 1970: `ready` when all processes have the model, `first` when the first
batch is classified, `done` when all are.
"""

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

BATCH = 16
CORES = len(os.sched_getaffinity(0))


def openvino(path: str, side: int) -> Any:
    import openvino

    core = openvino.Core()
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": 1})
    model = core.compile_model(path, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    return lambda images: model(images)[0].argmax(axis=-1)


def litert(path: str, side: int) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=1)
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()

    def classify(images: Any) -> Any:
        if list(interpreter.get_input_details()[0]["shape"]) != list(images.shape):
            interpreter.resize_tensor_input(given["index"], images.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(wanted["index"]).argmax(axis=-1)

    return classify


def loop(runtime: str, model: str, paths: list[Path], side: int, gate: Any, moments: Any) -> None:
    """Classify these files."""
    classify = {"openvino": openvino, "litert": litert}[runtime](model, side)
    classify(np.zeros((BATCH, side, side, 3), np.uint8))
    gate.wait()
    predictions = []
    for first in range(0, len(paths), BATCH):
        images = []
        for path in paths[first : first + BATCH]:
            with Image.open(path) as image:
                resized = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
            images.append(np.asarray(resized))
        predictions.append(classify(np.stack(images)))
        if not first:
            moments.put(time.time())
    moments.put(time.time())
    assert len(np.concatenate(predictions)) == len(paths)


def main(runtime: str, model: str, folder: Path, side: int) -> dict[str, float]:
    """Classify the folder once."""
    context = multiprocessing.get_context("spawn")
    gate, moments = context.Barrier(CORES + 1), context.SimpleQueue()
    paths = sorted(folder.iterdir())
    workers = [
        context.Process(target=loop, args=(runtime, model, paths[i::CORES], side, gate, moments))
        for i in range(CORES)
    ]
    for worker in workers:
        worker.start()
    gate.wait()
    ready = time.time()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise SystemExit(f"a process ended with {worker.exitcode}")
    told = [moments.get() for _ in range(2 * CORES)]
    return {"ready": ready, "first": min(told), "done": max(told)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
