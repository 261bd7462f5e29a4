"""Whether what a network answers to an image hangs on that image alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from evaluation.ranking import SAME_SCORE
from imaging.images import Pixels
from trainer.errors import ImportFailed
from trainer.importing.originals.original import Floats


def require_steady(answer: Callable[[Pixels], Floats], images: Pixels, path: Path) -> None:
    """Raise `ImportFailed` where other images beside it, or chance, change an image's answer."""
    together = answer(images)
    alone = np.concatenate([answer(image[None]) for image in images])
    if same(together, alone):
        return
    if not same(together, answer(images)):
        raise ImportFailed(
            f"{path} is not published: it answers the same image differently each time. Save it "
            "without what draws random numbers: dropout, noise and augmentation belong to training."
        )
    raise ImportFailed(
        f"{path} is not published: an image's answer depends on the others of its batch. Something "
        "in it computes over the first axis, which counts the images: a mean over all axes, or "
        "batch normalisation that is still in training."
    )


def same(first: Floats, second: Floats) -> bool:
    """Whether these are the same answers but for rounding; what is no number equals its like."""
    apart = np.abs(np.nan_to_num(first) - np.nan_to_num(second))
    return bool(apart.max() <= SAME_SCORE)
