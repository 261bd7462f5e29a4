import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from evaluation.confusion import Evaluation

CLASSES = 4
LABELS = ("a", "b", "c", "d")
pairs = st.lists(st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1)


@given(pairs)
def test_every_figure_is_that_of_scikit_learn(values: list[tuple[int, int]]) -> None:
    actual, predicted = np.array(values, np.int32).T
    evaluation = Evaluation.of(LABELS, actual, predicted)
    classes = range(CLASSES)
    expected = confusion_matrix(actual, predicted, labels=classes)
    np.testing.assert_array_equal(evaluation.matrix, expected)
    assert evaluation.accuracy == pytest.approx(accuracy_score(actual, predicted))
    precision, recall, f1, support = precision_recall_fscore_support(
        actual, predicted, labels=classes, zero_division=0
    )
    scores = evaluation.per_class()
    assert [score.label for score in scores] == list(LABELS)
    assert [score.precision for score in scores] == pytest.approx(precision.tolist())
    assert [score.recall for score in scores] == pytest.approx(recall.tolist())
    assert [score.f1 for score in scores] == pytest.approx(f1.tolist())
    assert [score.support for score in scores] == support.tolist()


@given(pairs, st.lists(st.sampled_from([(-1, 2), (2, -1), (-1, -1)])))
def test_images_without_a_label_or_a_prediction_do_not_count(
    values: list[tuple[int, int]], unknown: list[tuple[int, int]]
) -> None:
    with_unknown = np.array(unknown + values, np.int32).T
    without = np.array(values, np.int32).T
    assert Evaluation.of(LABELS, *with_unknown) == Evaluation.of(LABELS, *without)


def test_nothing_labelled_has_no_accuracy_and_no_figures() -> None:
    nothing = np.array([], np.int32)
    evaluation = Evaluation.of(LABELS, nothing, nothing)
    assert evaluation.accuracy is None
    assert evaluation.count == 0
    assert {score.f1 for score in evaluation.per_class()} == {0.0}


def test_small_integer_types_do_not_overflow() -> None:
    labels = tuple(str(i) for i in range(200))
    ones = np.full(3, 199, np.uint8)
    assert Evaluation.of(labels, ones, ones).matrix[199, 199] == 3


def test_an_evaluation_survives_its_way_through_json() -> None:
    evaluation = Evaluation.of(LABELS, np.array([0, 1, 3]), np.array([0, 2, 3]))
    assert Evaluation.model_validate_json(evaluation.model_dump_json()) == evaluation
