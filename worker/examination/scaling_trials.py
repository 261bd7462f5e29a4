"""What a model answers when pixels have another scale than 0 to 255."""

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imaging.images import Pixels
from imaging.scalings import scalings_for
from storage.models.examination_messages import ExaminationRequest

if TYPE_CHECKING:
    from worker.runtimes.tensorflow import Predictor

TRIAL_SECONDS, FEWEST_TRIED, MOST_TRIED = 1.0, 24, 300
"""How long one scaling is tried, and on how many images."""
TRIALS_SHARE = 0.25
"""Of the time for an examination: what would come later is not tried any more."""


def try_scalings(
    request: ExaminationRequest, predictor: "Predictor", images: Pixels, images_per_second: float
) -> dict[str, NDArray[np.integer]]:
    """Predictions for some of the images in other scales: `rows` and `trials` of the answers."""
    if not request.trials:
        return {}
    until = perf_counter() + TRIALS_SHARE * request.seconds
    affordable = round(min(max(TRIAL_SECONDS * images_per_second, FEWEST_TRIED), MOST_TRIED))
    rows = np.linspace(0, len(images) - 1, min(len(images), affordable)).round().astype(np.int64)
    trials = [np.empty((0, len(rows)), np.int32)]
    for scaling in scalings_for(images.shape[-1]):
        if perf_counter() < until:
            trials.append(predictor.classify_scaled(scaling(images[rows]))[None])
    return {"rows": rows, "trials": np.concatenate(trials)}
