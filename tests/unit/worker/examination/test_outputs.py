"""What is said of an output that is not one probability per class."""

import numpy as np
import pytest

from worker.examination.outputs import find_fault

SOFTMAX = "answer = keras.layers.Softmax()(model(pixels))"


@pytest.mark.parametrize(
    "output",
    [
        [[0.2, 0.3, 0.5], [1, 0, 0]],
        [[0.2, 0.3, 0.495], [1, 0, 0.004]],
        [[1 / 3, 1 / 3, 1 / 3], [1 / 3, 1 / 3, 1 / 3]],
    ],
)
def test_probabilities_have_no_fault(output: list[list[float]]) -> None:
    assert find_fault([np.array(output)], 3) is None


@pytest.mark.parametrize(
    ("output", "classes", "sentence", "remedy"),
    [
        ([[-3.0, 1, 5], [0, 0, 1]], 3, "its outputs, from -3 to 5, are no probabilities", SOFTMAX),
        ([[3.0, 1, 5], [2, 2, 1]], 3, "end it with a softmax layer", SOFTMAX),
        (np.log([[0.2, 0.3, 0.5], [0.8, 0.1, 0.1]]), 3, "logarithms", "exponential"),
        ([[0.9, 0.8, 0.1], [0.2, 0.2, 0.1]], 3, "each class is judged by itself", ""),
        ([[0.3], [0.9]], 2, "the probability of the second class", "second = model(pixels)"),
        ([[-3.0], [0.9]], 2, "the probability of the second class", "sigmoid"),
        ([[0.3], [0.9]], 3, "one number an image, and 3 classes are named", ""),
        ([[0.1, 0.2, 0.7]] * 2, 4, "tells 3 classes apart and 4 are named: name all 3", ""),
        (np.zeros((2, 4, 4, 3)), 3, r"has the shape \(2, 4, 4, 3\)", ""),
        (np.zeros((1, 3)), 3, r"has the shape \(1, 3\)", ""),
        (np.zeros(2), 3, r"has the shape \(2,\)", ""),
        ([[np.nan, 0, 1], [0, 0, 1]], 3, "is not finite", ""),
        ([[np.nan], [0]], 2, "is not finite", ""),
    ],
)
def test_a_fault_is_told_with_what_mends_it(
    output: object, classes: int, sentence: str, remedy: str
) -> None:
    fault = find_fault([np.array(output)], classes)
    assert fault is not None
    with pytest.raises(ValueError, match=sentence):
        raise ValueError(fault.sentence)
    assert remedy in "\n".join(fault.remedy)
    assert bool(remedy) == bool(fault.remedy)


@pytest.mark.parametrize(
    ("output", "activation", "sentence", "remedy"),
    [
        ([[0.3], [0.9]], "sigmoid", "the probability of the second", "second = model(pixels)"),
        ([[0.3], [0.9]], "linear", "the probability of the second", '"sigmoid")(model(pixels))'),
        ([[0.3], [0.9]], "tanh", "the probability of the second", "second = (1 + model(pixels)) /"),
        ([[1.0], [1.0]], "softmax", "softmax over one unit, which is 1 for every image", ""),
        ([[0.3, 0.9], [0.1, 0.2]], "linear", "no probabilities, which add up to 1", SOFTMAX),
        ([[0.3, 0.9], [0.1, 0.2]], "relu", "no probabilities, which add up to 1", SOFTMAX),
        ([[0.3, 0.9], [0.1, 0.2]], "sigmoid", "each class is judged by itself", ""),
        ([[[[0.3, 0.7]]], [[[0.1, 0.9]]]], "softmax", "has the shape", "Flatten()(model(pixels))"),
        ([[[0.3, 0.7]] * 2] * 2, "softmax", "has the shape", ""),
    ],
)
def test_what_a_network_ends_with_counts_where_two_images_may_mislead(
    output: object, activation: str, sentence: str, remedy: str
) -> None:
    fault = find_fault([np.array(output)], 2, activation)
    assert fault
    assert sentence in fault.sentence
    assert remedy in "\n".join(fault.remedy)
    assert bool(remedy) == bool(fault.remedy)


def test_softmax_is_no_remedy_for_several_labels_an_image() -> None:
    fault = find_fault([np.array([[0.9, 0.8], [0.2, 0.2]])], 2)
    assert fault
    assert "several labels an image" in fault.sentence


def test_several_outputs_are_counted() -> None:
    fault = find_fault([np.zeros((2, 3)), np.zeros((2, 1))], 3)
    assert fault
    assert "it has 2 outputs" in fault.sentence
