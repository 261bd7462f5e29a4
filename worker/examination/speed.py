"""How many images a second a model does, as far as that can be found out in little time."""

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np

from evaluation.ranking import Ranking
from imaging.images import Pixels
from storage.models.examination_messages import ExaminationRequest
from worker.errors import ModelRefused
from worker.runtimes.predictor import Predictor

SPEED_SECONDS, MOST_TURNS = 0.5, 2000
TRIAL_SECONDS = 0.15
"""For each of several numbers of images at a time."""
FASTER = 1.03
"""Another number of images than the usual one has to be faster by so much."""
FAR_TOO_LONG = 2.0
"""So many times the time for an examination: less may be due to a busy machine."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What so many images at a time come to."""

    chunk: int
    images_per_second: float
    peak_memory: int
    """Highest resident memory of this process up to then, in bytes."""


def measure_speed(predictor: Predictor, images: Pixels, latency: float) -> Speed:
    """The fastest way to take images, which the predictor keeps from then on.

    It is not one that takes much longer than `SPEED_SECONDS`, of which `latency` for one image
    gives a notion. The same images again if they are few.
    """
    usual, most = predictor.chunk, max(1, round(SPEED_SECONDS / latency))
    if usual > most:
        return replace(speed_of(predictor, images, most, SPEED_SECONDS), chunk=usual)
    trials = sorted({usual, *(chunk for chunk in predictor.chunks if chunk <= most)})
    limit = TRIAL_SECONDS if len(trials) > 1 else SPEED_SECONDS
    speeds = {}
    for predictor.chunk in trials:
        speeds[predictor.chunk] = speed_of(predictor, images, predictor.chunk, limit)
    best = max(speeds.values(), key=lambda speed: speed.images_per_second)
    if best.images_per_second < FASTER * speeds[usual].images_per_second:
        best = speeds[usual]
    predictor.chunk = best.chunk
    return best


def speed_of(predictor: Predictor, images: Pixels, chunk: int, limit: float) -> Speed:
    """Images per second of the processor's time, the median of several turns.

    The likeliest class is looked for as well, as after each chunk of a batch.
    """
    pixels = np.resize(images[:chunk], (chunk, *predictor.shape))
    predictor(pixels)
    seconds: list[float] = []
    while sum(seconds) < limit and len(seconds) < MOST_TURNS:
        began = process_time()
        Ranking.of(predictor(pixels), 1)
        seconds.append(process_time() - began)
    speed = chunk / median(seconds)
    return Speed(chunk=chunk, images_per_second=speed, peak_memory=peak_memory())


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


def peak_memory() -> int:
    """Highest resident memory of this process so far, in bytes.

    Not that of `getrusage`, which begins with what the parent had.
    """
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])
