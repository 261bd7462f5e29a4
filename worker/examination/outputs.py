"""Is what a network gives one probability per class? And if not, what would make it so?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDING = 0.01
"""How far probabilities may be from adding up to 1: a half-precision output rounds so much."""

SIGMOIDS = ("sigmoid", "hard_sigmoid")


@dataclass(frozen=True)
class Fault:
    sentence: str
    remedy: tuple[str, ...] = ()
    """Lines of Python that make `answer` from the Keras `model` and its input `pixels`."""


def find_fault(
    outputs: Sequence[NDArray[np.floating]], classes: int, activation: str | None = None
) -> Fault | None:
    """Why these outputs for two images are not `classes` probabilities each, if they are not.

    `activation` is what the network ends with, where that is known: two images may look otherwise.
    """
    if len(outputs) != 1:
        return Fault(f"it has {len(outputs)} outputs, and only the probabilities are needed.")
    (output,) = outputs
    if output.ndim != 2 or len(output) != 2:
        return Fault(
            f"its output for two images has the shape {output.shape}, "
            f"where {classes} classes need (2, {classes}).",
            of_shape(output, classes),
        )
    if output.shape[1] == 1:
        return of_one_number(output, classes, activation)
    if output.shape[1] != classes:
        return Fault(
            f"it tells {output.shape[1]} classes apart and {classes} are named: "
            f"name all {output.shape[1]}, in the order of its outputs."
        )
    if not np.isfinite(output).all():
        return Fault("its output is not finite.")
    exact = output.astype(np.float64)
    if exact.min() >= -ROUNDING and adds_up(exact):
        return None
    if exact.max() <= 0 and adds_up(np.exp(exact)):
        return Fault(
            "its outputs are logarithms of probabilities: end it with an exponential.",
            ('answer = keras.layers.Activation("exponential")(model(pixels))',),
        )
    if exact.min() >= 0 and exact.max() <= 1 and activation in (None, *SIGMOIDS):
        return Fault(
            "its outputs are probabilities that do not add up to 1: each class is judged by itself "
            "(sigmoid, several labels an image). Here an image has one class: train it with a "
            "softmax at its end."
        )
    return Fault(
        f"its outputs, from {exact.min():.3g} to {exact.max():.3g}, are no probabilities, "
        "which add up to 1: end it with a softmax layer.",
        ("answer = keras.layers.Softmax()(model(pixels))",),
    )


def of_shape(output: NDArray[np.floating], classes: int) -> tuple[str, ...]:
    """What makes rows of an output that has sides as well."""
    if output.ndim < 3 or len(output) != 2 or output.shape[-1] != classes:
        return ()
    if output.size == 2 * classes:
        return ("answer = keras.layers.Flatten()(model(pixels))",)
    return ()


def of_one_number(
    output: NDArray[np.floating], classes: int, activation: str | None = None
) -> Fault:
    """One unit tells two classes apart, or nothing."""
    if classes != 2:
        return Fault(
            f"it gives one number an image, and {classes} classes are named: one number tells only "
            "two classes apart."
        )
    if not np.isfinite(output).all():
        return Fault("its output is not finite.")
    if activation == "softmax":
        return Fault(
            "it ends with a softmax over one unit, which is 1 for every image: train it with a "
            "sigmoid there, or with two units."
        )
    probability = "model(pixels)"
    if activation == "tanh":
        probability = "(1 + model(pixels)) / 2"
    elif activation == "linear" or output.min() < 0 or output.max() > 1:
        probability = 'keras.layers.Activation("sigmoid")(model(pixels))'
    return Fault(
        "it gives one number an image, the probability of the second class, and both are needed.",
        (f"second = {probability}", "answer = keras.layers.Concatenate()([1 - second, second])"),
    )


def adds_up(probabilities: NDArray[np.float64]) -> bool:
    """Whether these are probabilities of exclusive classes."""
    return float(np.abs(probabilities.sum(axis=1) - 1).max()) <= ROUNDING
