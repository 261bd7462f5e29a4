"""What a network gives, told by how it ends and by its answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from storage.models.contract import ONE_UNIT, Output
from trainer.errors import ImportFailed

ROUNDING = 0.01
"""How far probabilities may be from adding up to 1: a half-precision output rounds so much."""
LEAST: Mapping[Output, float] = {"sigmoid": 0, "tanh": -1}
"""What one unit gives that ends so; the most is 1."""
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
    if told in ONE_UNIT:
        raise ImportFailed(
            f"--output {told} is for one unit that tells two classes apart, and {path} has {units}."
        )
    kind = kind_of_several(flat, activation)
    if told == "logits" and (kind == "probabilities" or activation in SIGMOIDS):
        found = (
            f"ends with {activation}" if activation else "gives probabilities, which add up to 1"
        )
        raise ImportFailed(f"--output logits cannot be right: {path} {found}.")
    if told:
        return told
    if kind == "shares":
        raise ImportFailed(
            f"{path} gives shares that add up to {flat[0].sum():.4g} for every image, and not to "
            "1: save it with its outputs divided by that."
        )
    if kind == "sigmoids":
        raise ImportFailed(
            f"{path} judges each class by itself (sigmoid: several labels an image), and here an "
            "image has one class. If its outputs are something else, say so by --output."
        )
    return kind


def kind_of_several(
    output: NDArray[np.float64], activation: str | None
) -> Literal["probabilities", "log-probabilities", "logits", "sigmoids", "shares"]:
    """What these outputs (n, classes) of several units are."""
    if activation == "softmax":
        return "probabilities"
    if activation == "log_softmax":
        return "log-probabilities"
    if activation in SIGMOIDS:
        return "sigmoids"
    if output.min() >= -ROUNDING and adds_up(output):
        return "probabilities"
    if output.max() <= 0 and adds_up(np.exp(output)):
        return "log-probabilities"
    if activation is None and output.min() >= 0 and output.max() <= 1:
        return "sigmoids"
    if output.min() >= 0 and adds_up(output / output[:1].sum()):
        return "shares"
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
    if told in {"probabilities", "log-probabilities"}:
        raise ImportFailed(
            f"--output {told} is for a number of each class, and {path} gives one of two: say "
            "sigmoid, tanh or logits."
        )
    low, high = float(output.min()), float(output.max())
    if told and told in LEAST and (low < LEAST[told] or high > 1):
        raise ImportFailed(
            f"--output {told} cannot be right: {path} gives {low:.3g} to {high:.3g}."
        )
    if told == "logits" and activation in {*SIGMOIDS, "tanh"}:
        raise ImportFailed(f"--output logits cannot be right: {path} ends with {activation}.")
    if told:
        return "sigmoid-logit" if told == "logits" else told
    if activation == "tanh":
        return "tanh"
    if activation == "linear" or low < 0 or high > 1:
        return "sigmoid-logit"
    return "sigmoid"


def adds_up(probabilities: NDArray[np.float64]) -> bool:
    """Whether these are probabilities of exclusive classes."""
    return float(np.abs(probabilities.sum(axis=1) - 1).max()) <= ROUNDING
