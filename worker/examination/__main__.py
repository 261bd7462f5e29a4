"""`python -m worker.examination`: what a model version does, told by a clean process.

It loads the version as a worker's child does and classifies images with one thread, which is what
a child has on a busy machine. `storage.models.examination_messages` says what goes in and out.
"""

import signal
import sys
from pathlib import Path
from time import perf_counter

import numpy as np

from evaluation.ranking import Ranking
from imaging.images import Pixels
from storage.errors import StorageError
from storage.models.examination_messages import ExaminationAnswer, ExaminationRequest, Metrics
from storage.models.store import check_archive
from worker.errors import ModelRefused, WorkerError
from worker.examination.speed import check_duration, measure_speed
from worker.examination.timing import in_turns
from worker.runtimes.model_cache import load_predictor
from worker.runtimes.startup import start_tensorflow


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
    if version.manifest.format == "keras":
        check_archive(version.model_path, str(version))  # before TensorFlow is waited for

    start_tensorflow()
    began = perf_counter()
    predictor = load_predictor(version)
    load_seconds = perf_counter() - began

    first = np.zeros((1, *predictor.shape), np.uint8)
    if request.images:
        images: Pixels = np.load(request.images, mmap_mode="r", allow_pickle=False)
        first = images[:1]
        check_duration(request, predictor, images)
        began = perf_counter()
        found = Ranking.of(predictor(images), 1)
        if odd := int((~np.isfinite(found.scores)).sum()):
            raise ModelRefused(
                f"{version} gives no finite score to {odd:,} of {len(images):,} images."
            )
        images_per_second = len(images) / (perf_counter() - began)
        np.savez(request.answers, predictions=found.classes[:, 0], scores=found.scores[:, 0])
    (timing,) = in_turns([predictor], first)
    if not request.images:
        images_per_second = measure_speed(predictor, timing.latency_ms / 1000)
    return Metrics(
        load_seconds=load_seconds,
        images_per_second=images_per_second,
        latency_ms=timing.latency_ms,
        cpu_ms=timing.cpu_ms,
        peak_memory_mb=peak_memory() / 1e6,
    )


def peak_memory() -> int:
    """Highest resident memory of this process so far, in bytes.

    Not that of `getrusage`, which begins with what the parent had.
    """
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    main()
