"""How many images a second a model does, as far as that can be found out in little time."""

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from imaging.images import Pixels
from storage.models.examination_messages import ExaminationRequest
from worker.errors import ModelRefused

if TYPE_CHECKING:
    from worker.runtimes.tensorflow import Predictor

SPEED_SECONDS = 1.0
FAR_TOO_LONG = 2.0
"""So many times the time for an examination: less may be due to a busy machine."""


def measure_speed(predictor: "Predictor", latency: float) -> float:
    """Images per second on random pixels, as many at a time as a batch has, or time allows for."""
    count = min(predictor.chunk, max(1, round(SPEED_SECONDS / latency)))
    images = np.random.default_rng(1).integers(0, 256, (count, *predictor.shape), np.uint8)
    predictor(images)
    began = perf_counter()
    done = 0
    while done == 0 or perf_counter() < began + SPEED_SECONDS:
        predictor(images)
        done += count
    return done / (perf_counter() - began)


def check_duration(request: ExaminationRequest, predictor: "Predictor", images: Pixels) -> None:
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
