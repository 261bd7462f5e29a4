"""`python -m worker.examination.timing`: how long one image takes with each of some versions.

One clean process loads them all and asks them in turns, so whatever else the machine does meets
all of them alike. `storage.models.examination_messages` says what comes in and goes out.
"""

import signal
import sys
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter, process_time

import numpy as np

from imaging.images import Pixels
from storage.errors import StorageError
from storage.models.examination_messages import Timing, TimingAnswer, TimingRequest
from worker.errors import WorkerError
from worker.runtimes.model_cache import load_predictor

SECONDS, FEWEST_TURNS, MOST_TURNS = 1.0, 5, 200
"""For each version."""


def main() -> None:
    request = TimingRequest.model_validate_json(sys.stdin.buffer.read())
    signal.alarm(request.seconds)
    try:
        answer = TimingAnswer(timings=tuple(measure(request)))
    except (StorageError, WorkerError) as error:
        answer = TimingAnswer(refusal=str(error))
    print(answer.model_dump_json())


def measure(request: TimingRequest) -> list[Timing]:
    """Load the versions and time them; raises `Corrupt` or `ModelRefused`."""
    for version in request.versions:
        version.verify()
    predictors = [load_predictor(version) for version in request.versions]
    images: Pixels = np.load(request.images, mmap_mode="r", allow_pickle=False)
    return in_turns(predictors, images[:1])


def in_turns(predictors: Sequence[Callable[[Pixels], object]], image: Pixels) -> list[Timing]:
    """How long one image (1, H, W, C) takes with each, and how much of the processor's time."""
    elapsed: list[list[float]] = [[] for _ in predictors]
    worked: list[list[float]] = [[] for _ in predictors]
    until = perf_counter() + SECONDS * len(predictors)
    for turn in range(MOST_TURNS):
        if turn >= FEWEST_TURNS and perf_counter() > until:
            break
        for i, predictor in enumerate(predictors):
            began, working = perf_counter(), process_time()
            predictor(image)
            elapsed[i].append(perf_counter() - began)
            worked[i].append(process_time() - working)
    return [
        Timing(latency_ms=1000 * median(alone), cpu_ms=1000 * median(work))
        for alone, work in zip(elapsed, worked, strict=True)
    ]


if __name__ == "__main__":
    main()
