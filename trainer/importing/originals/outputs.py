"""What a network gives, told by how it ends and by its answers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storage.models.contract import ONE_UNIT, Output
from trainer.errors import ImportFailed

ROUNDING = 0.01
"""How far probabilities may be from adding up to 1: a half-precision output rounds so much."""
SIGMOIDS = ("sigmoid", "hard_sigmoid")


def kind_of(
    outputs: Sequence[NDArray[np.floating]],
    path: Path,
    *,
    classes: int,
    activation: str | None,
    told: Output | None,
) -> Output:
    """What these outputs for some images are; raises `ImportFailed` where that is no class each.

    What the network ends with decides where it is known: some images may look otherwise.
    """
    (output,) = outputs
    count = len(output)
    if output.size != count * output.shape[-1] or output.ndim < 2:
        raise ImportFailed(
            f"{path} gives {' x '.join(map(str, output.shape[1:])) or 'one number'} for an image: "
            f"it is no classifier, which gives one number for each of {classes} classes."
        )
    units = output.shape[-1]
    flat = output.reshape(count, units).astype(np.float64)
    if not np.isfinite(flat).all():
        raise ImportFailed(f"{path} gives what is not finite for some images.")
    if units == 1:
        return kind_of_one(flat, path, classes=classes, activation=activation, told=told)
    if units != classes:
        raise ImportFailed(
            f"{path} tells {units:,} classes apart and {classes:,} are named: name all {units:,}, "
            "in the order of its outputs."
        )
    if told:
        if told in ONE_UNIT:
            raise ImportFailed(
                f"{path} has {units:,} units, and --output {told} is for one, which tells two "
                "classes apart."
            )
        return told
    if activation == "softmax" or (flat.min() >= -ROUNDING and adds_up(flat)):
        return "probabilities"
    if activation == "log_softmax" or (flat.max() <= 0 and adds_up(np.exp(flat))):
        return "log-probabilities"
    if activation in SIGMOIDS or (activation is None and flat.min() >= 0 and flat.max() <= 1):
        raise ImportFailed(
            f"{path} judges each class by itself (sigmoid: several labels an image), and here an "
            "image has one class. If its outputs are something else, say so by --output."
        )
    return "logits"


def kind_of_one(
    output: NDArray[np.float64],
    path: Path,
    *,
    classes: int,
    activation: str | None,
    told: Output | None,
) -> Output:
    """One unit tells two classes apart, or nothing."""
    if classes != 2:
        raise ImportFailed(
            f"{path} gives one number an image, and {classes:,} classes are named: one number "
            "tells only two classes apart."
        )
    if activation == "softmax":
        raise ImportFailed(
            f"{path} ends with a softmax over one unit, which is 1 for every image: train it with "
            "a sigmoid there, or with two units."
        )
    if told == "logits":
        return "sigmoid-logit"
    if told:
        if told not in ONE_UNIT:
            raise ImportFailed(
                f"{path} has one unit, and --output {told} is for one each class: sigmoid, tanh or "
                "logits is what one can be."
            )
        return told
    if activation == "tanh":
        return "tanh"
    if activation == "linear" or output.min() < 0 or output.max() > 1:
        return "sigmoid-logit"
    return "sigmoid"


def adds_up(probabilities: NDArray[np.float64]) -> bool:
    """Whether these are probabilities of exclusive classes."""
    return float(np.abs(probabilities.sum(axis=1) - 1).max()) <= ROUNDING
