"""What a network gives is told by its end and its answers."""

from pathlib import Path

import numpy as np
import pytest

from storage.models.contract import Output
from trainer.errors import ImportFailed
from trainer.importing.originals.outputs import kind_of

PATH = Path("net.onnx")


def kind(
    output: object, classes: int, activation: str | None = None, told: Output | None = None
) -> Output:
    return kind_of([np.array(output)], PATH, classes=classes, activation=activation, told=told)


@pytest.mark.parametrize(
    ("output", "classes", "activation", "expected"),
    [
        ([[0.2, 0.3, 0.5], [1, 0, 0]], 3, None, "probabilities"),
        ([[0.2, 0.3, 0.4], [1, 0, 0]], 3, "softmax", "probabilities"),
        ([[-3.0, 1, 5], [0, 0, 1]], 3, None, "logits"),
        ([[3.0, 1, 5], [2, 2, 1]], 3, "linear", "logits"),
        ([[0.3, 0.9], [0.1, 0.2]], 2, "linear", "logits"),
        (np.log([[0.2, 0.3, 0.5], [0.8, 0.1, 0.1]]), 3, None, "log-probabilities"),
        ([[0.3], [0.9]], 2, None, "sigmoid"),
        ([[0.3], [0.9]], 2, "sigmoid", "sigmoid"),
        ([[0.3], [0.9]], 2, "linear", "sigmoid-logit"),
        ([[-3.0], [0.9]], 2, None, "sigmoid-logit"),
        ([[0.3], [0.9]], 2, "tanh", "tanh"),
        ([[[[0.3, 0.7]]], [[[0.1, 0.9]]]], 2, "softmax", "probabilities"),
    ],
)
def test_an_output_is_told_by_its_end_first_and_then_by_its_numbers(
    output: object, classes: int, activation: str | None, expected: Output
) -> None:
    assert kind(output, classes, activation) == expected


def test_what_is_told_counts() -> None:
    assert kind([[0.3, 0.9], [0.1, 0.2]], 2, told="logits") == "logits"
    assert kind([[0.3], [0.9]], 2, told="logits") == "sigmoid-logit"
    assert kind(np.log([[0.3, 0.7], [0.1, 0.9]]), 2, "log_softmax", told="logits") == "logits"
    assert kind([[0.3, 0.9]], 2, "sigmoid", told="probabilities") == "probabilities"


@pytest.mark.parametrize(
    ("output", "activation", "told", "sentence"),
    [
        ([[0.3, 0.7], [0.1, 0.9]], None, "logits", "gives probabilities, which add up to 1"),
        ([[0.3, 0.7], [0.1, 0.9]], "softmax", "logits", "ends with softmax"),
        ([[0.3, 0.9], [0.1, 0.2]], "sigmoid", "logits", "ends with sigmoid"),
        ([[0.3], [0.9]], "sigmoid", "logits", "ends with sigmoid"),
        ([[0.3], [0.9]], "tanh", "logits", "ends with tanh"),
        ([[0.3], [1.6]], None, "sigmoid", "gives 0.3 to 1.6"),
        ([[-0.3], [0.9]], None, "sigmoid", "gives -0.3 to 0.9"),
        ([[-3], [0.9]], None, "tanh", "gives -3 to 0.9"),
        ([[0.3], [0.9]], None, "probabilities", "gives one of two: say sigmoid, tanh or logits"),
        ([[0.3], [0.9]], None, "log-probabilities", "gives one of two: say sigmoid"),
        ([[0.3, 0.7]], None, "sigmoid", "is for one unit that tells two classes apart"),
        ([[0.3, 0.7]], None, "tanh", "is for one unit that tells two classes apart"),
    ],
)
def test_what_is_told_and_cannot_be_right_is_refused(
    output: object, activation: str | None, told: Output, sentence: str
) -> None:
    with pytest.raises(ImportFailed, match=f"--output {told} .*{sentence}"):
        kind(output, 2, activation, told)


@pytest.mark.parametrize(
    ("output", "classes", "activation", "sentence"),
    [
        ([[0.9, 0.8, 0.1], [0.2, 0.2, 0.1]], 3, None, "judges each class by itself"),
        ([[0.3, 0.9], [0.1, 0.2]], 2, "sigmoid", "judges each class by itself"),
        ([[1, 0, 0], [0, 1, 0]], 3, "sigmoid", "judges each class by itself"),
        ([[20, 30, 50], [100, 0, 0]], 3, None, "shares that add up to 100 for every image"),
        ([[0.3], [0.9]], 3, None, "one number an image, and 3 classes are named"),
        ([[1.0], [1.0]], 2, "softmax", "softmax over one unit, which is 1 for every image"),
        ([[0.1, 0.2, 0.7]] * 2, 4, None, "tells 3 classes apart and 4 are named: name all 3"),
        (np.zeros((2, 4, 4, 3)), 3, None, "4 x 4 x 3 for an image: it is no classifier"),
        (np.zeros((2, 100, 85)), 85, None, "100 x 85 for an image: it is no classifier"),
        (np.zeros(2), 3, None, "one number for an image: it is no classifier"),
        ([[np.nan, 0, 1], [0, 0, 1]], 3, None, "is not finite"),
    ],
)
def test_what_is_no_classifier_is_refused_in_a_sentence(
    output: object, classes: int, activation: str | None, sentence: str
) -> None:
    with pytest.raises(ImportFailed) as told:
        kind(output, classes, activation)
    assert str(told.value).startswith("net.onnx ")
    assert sentence in str(told.value)
