"""`python -m worker.examination`: what a model version does, told by a clean process.

It loads the version as a worker's child does and classifies images with one thread, which is what
a child has on a busy machine. `storage.models.examination_messages` says what goes in and out.
"""

import signal
import sys
from time import perf_counter

import numpy as np

from console.counts import counted
from imaging.images import Pixels
from storage.errors import StorageError
from storage.models.examination_messages import ExaminationAnswer, ExaminationRequest
from storage.models.metrics import Metrics
from worker.errors import ModelRefused, WorkerError
from worker.examination.speed import check_duration, measure_speed
from worker.examination.timing import in_turns
from worker.runtimes.model_cache import load_predictor


def main() -> None:
    request = ExaminationRequest.model_validate_json(sys.stdin.buffer.read())
    signal.alarm(request.seconds)
    try:
        answer = ExaminationAnswer(metrics=examine(request))
    except (StorageError, WorkerError) as error:
        answer = ExaminationAnswer(refusal=str(error))
    print(answer.model_dump_json())


def examine(request: ExaminationRequest) -> Metrics:
    """Load the version and write its answers to all images; raises `Corrupt` or `ModelRefused`."""
    version = request.version
    version.verify()
    began = perf_counter()
    predictor = load_predictor(version)
    load_seconds = perf_counter() - began

    images: Pixels = np.load(request.images, mmap_mode="r", allow_pickle=False)
    check_duration(request, predictor, images)
    probabilities = predictor(images)
    if odd := int((~np.isfinite(probabilities).all(axis=1)).sum()):
        raise ModelRefused(
            f"{version} gives no finite score to {odd:,} of {counted(len(images), 'image')}."
        )
    np.save(request.answers, probabilities)
    (timing,) = in_turns([predictor], images[:1])
    speed = measure_speed(predictor, images, timing.latency_ms / 1000)
    return Metrics(
        load_seconds=load_seconds,
        images_per_second=speed.images_per_second,
        latency_ms=timing.latency_ms,
        cpu_ms=timing.cpu_ms,
        peak_memory_mb=speed.peak_memory / 1e6,
        chunk=speed.chunk,
    )


if __name__ == "__main__":
    main()
