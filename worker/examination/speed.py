"""How many images a second a model does, as far as that can be found out in little time."""

from statistics import median
from time import perf_counter, process_time

import numpy as np

from imaging.images import Pixels
from storage.models.examination_messages import ExaminationRequest
from worker.errors import ModelRefused
from worker.runtimes.predictor import Predictor

SPEED_SECONDS, MOST_TURNS = 0.5, 2000
FAR_TOO_LONG = 2.0
"""So many times the time for an examination: less may be due to a busy machine."""


def measure_speed(predictor: Predictor, images: Pixels, latency: float) -> float:
    """Images per second of the processor's time, the median over half a second.

    So many at a time as a batch has, or time allows for. The same images again if they are few.
    """
    count = min(predictor.chunk, max(1, round(SPEED_SECONDS / latency)))
    chunk = np.resize(images[:count], (count, *predictor.shape))
    predictor(chunk)
    seconds: list[float] = []
    while sum(seconds) < SPEED_SECONDS and len(seconds) < MOST_TURNS:
        began = process_time()
        predictor(chunk)
        seconds.append(process_time() - began)
    return count / median(seconds)


def check_duration(request: ExaminationRequest, predictor: Predictor, images: Pixels) -> None:
    """Raise `ModelRefused` if the first images show that all would take far too long."""
    began = perf_counter()
    first = images[: predictor.chunk]
    predictor(first)
    seconds = (perf_counter() - began) * len(images) / len(first)
    if seconds > FAR_TOO_LONG * request.seconds:
        raise ModelRefused(
            f"{request.version} would take about {seconds / 60:,.0f} minutes for the "
            f"{len(images):,} test images, longer than an examination may: raise "
            "BATCHSIGHT_GATE_SECONDS, or import it without --dataset."
        )
