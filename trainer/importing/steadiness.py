"""Whether what a network answers to an image hangs on that image alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from evaluation.ranking import SAME_SCORE
from imaging.images import Pixels
from trainer.errors import ImportFailed
from trainer.importing.originals.original import Floats

Answer = Callable[[Pixels], Floats]


def require_steady(
    original: Answer, artefact: Answer, images: Pixels, path: Path, coarseness: float
) -> None:
    """Raise `ImportFailed` where other images beside it, or chance, change an image's answer.

    ONNX Runtime may leave chance out of one of the two.
    """

    def same(first: Floats, second: Floats) -> bool:
        # What is no number equals its like.
        apart = np.abs(np.nan_to_num(first) - np.nan_to_num(second))
        return bool(apart.max() <= max(SAME_SCORE, coarseness))

    together = artefact(images)
    alone = np.concatenate([artefact(image[None]) for image in images])
    by_chance = not same(original(images), original(images))
    if same(together, alone) and not by_chance:
        return
    if by_chance or not same(together, artefact(images)):
        raise ImportFailed(
            f"{path} is not published: it answers the same image differently each time. Save it in "
            "inference mode: dropout, noise and augmentation belong to training."
        )
    raise ImportFailed(
        f"{path} is not published: an image's answer depends on the others of its batch. Something "
        "in it computes over the first axis, which counts the images: a mean over all axes, or "
        "batch normalisation that is still in training."
    )
