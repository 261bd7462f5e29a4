import numpy as np
import pytest

from evaluation.confusion import Evaluation
from evaluation.label_order import note_on_order


def evaluated(order: list[int], *, images: int, accuracy: float = 1.0, seed: int = 0) -> Evaluation:
    """Predictions that are right in `order` this often, and any class otherwise."""
    rng = np.random.default_rng(seed)
    classes = len(order)
    actual = np.arange(images) % classes
    wrong = rng.random(images) >= accuracy
    predicted = np.where(wrong, rng.integers(0, classes, images), np.array(order)[actual])
    return Evaluation.of([f"class {i}" for i in range(classes)], actual, predicted)


@pytest.mark.parametrize(
    ("order", "images", "accuracy"),
    [
        ([1, 0], 40, 1.0),
        ([1, 2, 0], 60, 0.9),
        ([0, 1, 3, 2, 4], 200, 0.9),
        ([0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9], 500, 0.8),
        (list(reversed(range(100))), 1000, 0.7),
    ],
)
def test_labels_in_another_order_are_pointed_out(
    order: list[int], images: int, accuracy: float
) -> None:
    note = note_on_order(evaluated(order, images=images, accuracy=accuracy))
    assert note is not None
    first = next(i for i, place in enumerate(order) if i != place)
    if len(order) < 4:
        assert f"class {first} is class {order[first]}" in note


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
@pytest.mark.parametrize("accuracy", [0.0, 0.3, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("per_class", [1, 3, 5, 20])
def test_a_model_that_is_wrong_is_not_taken_for_labels_in_another_order(
    classes: int, accuracy: float, per_class: int
) -> None:
    for seed in range(20):
        order = list(range(classes))
        fair = evaluated(order, images=classes * per_class, accuracy=accuracy, seed=seed)
        assert note_on_order(fair) is None


def test_one_class_for_everything_is_no_order() -> None:
    actual = np.arange(300) % 3
    assert note_on_order(Evaluation.of("abc", actual, np.full(300, 1))) is None
    assert note_on_order(Evaluation.of("abc", actual[:0], actual[:0])) is None


def test_two_classes_that_are_mixed_up_are_no_order() -> None:
    matrix = np.array([[60, 40, 0], [55, 45, 0], [0, 0, 100]])
    assert note_on_order(Evaluation.from_matrix("abc", matrix)) is None


def test_few_labels_fit_some_order_and_nothing_is_said() -> None:
    assert note_on_order(evaluated([1, 2, 0], images=9)) is None
