"""What is said of an output that is not one probability per class."""

import numpy as np
import pytest

from worker.examination.outputs import find_fault


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
    ("output", "sentence"),
    [
        ([[-3.0, 1, 5], [0, 0, 1]], "its outputs, from -3 to 5, are no probabilities"),
        ([[0.9, 0.8, 0.1], [0.2, 0.2, 0.1]], "are no probabilities"),
        ([[0.1, 0.9], [0.5, 0.5]], "has the shape (2, 2), where 3 classes need (2, 3)"),
        (np.zeros((2, 4, 4, 3)), "has the shape (2, 4, 4, 3)"),
        (np.zeros(2), "has the shape (2,)"),
        ([[np.nan, 0, 1], [0, 0, 1]], "is not finite"),
    ],
)
def test_a_fault_is_told(output: object, sentence: str) -> None:
    assert sentence in str(find_fault([np.array(output)], 3))


def test_several_outputs_are_counted() -> None:
    assert "it has 2 outputs" in str(find_fault([np.zeros((2, 3)), np.zeros((2, 1))], 3))
