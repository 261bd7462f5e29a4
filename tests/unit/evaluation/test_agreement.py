import numpy as np
import pytest

from evaluation.agreement import Agreement

SURE = [0.9, 0.1]


def table(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_what_differs_by_rounding_agrees_and_its_ties_are_counted() -> None:
    first = table(SURE, [0.50001, 0.49999], [0.3, 0.7])
    second = table([0.90002, 0.09998], [0.49999, 0.50001], [0.3, 0.7])
    found = Agreement.of(first, second)
    assert found.holds
    assert (found.images, found.ties, found.differing) == (3, 1, 0)
    assert found.difference == pytest.approx(2e-5, rel=0.01)


def test_few_images_must_be_nearer_than_many() -> None:
    first, second = table(*[SURE] * 100), table(*[[0.90005, 0.09995]] * 100)
    many, few = Agreement.of(first, second), Agreement.of(first[1:], second[1:])
    assert (many.holds, many.is_close) == (True, False)
    assert (few.holds, few.is_close, few.differing) == (False, True, 0)


@pytest.mark.parametrize(
    "other", [[0.1, 0.9], [0.8998, 0.1002], [np.nan, 0.1], [0.9, np.inf]], ids=str
)
def test_another_class_another_probability_or_none_is_a_difference(other: list[float]) -> None:
    found = Agreement.of(table(SURE, SURE), table(SURE, other))
    assert not found.holds
    assert found.differing == 1


def test_tables_of_other_shapes_are_not_compared() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2\) is no match for \(2, 2\)"):
        Agreement.of(table(SURE), table(SURE, SURE))


def test_no_images_agree() -> None:
    assert Agreement.of(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)).holds
