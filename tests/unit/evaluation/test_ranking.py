"""The likeliest classes of images, against what sorting one row by hand gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from evaluation.ranking import FAILED, SAME_SCORE, Ranking


def by_hand(row: NDArray[np.float32], depth: int) -> list[int]:
    return sorted(range(len(row)), key=lambda i: (-float(row[i]), i))[:depth]


rows = st.integers(2, 6).flatmap(
    lambda classes: st.lists(
        st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5]), min_size=classes, max_size=classes),
        min_size=1,
        max_size=5,
    )
)


@given(rows, st.integers(1, 6))
def test_classes_come_by_score_and_equal_ones_in_their_order(
    rows: list[list[float]], depth: int
) -> None:
    probabilities = np.array(rows, np.float32)
    ranking = Ranking.of(probabilities, min(depth, probabilities.shape[1]))
    for row, classes, scores in zip(
        probabilities, ranking.classes.tolist(), ranking.scores, strict=True
    ):
        assert classes == by_hand(row, ranking.depth)
        np.testing.assert_array_equal(scores, row[classes])


@given(rows)
def test_a_whole_ranking_is_the_probabilities(rows: list[list[float]]) -> None:
    probabilities = np.array(rows, np.float32)
    ranking = Ranking.of(probabilities, probabilities.shape[1])
    assert ranking.is_whole()
    np.testing.assert_array_equal(ranking.by_class(), probabilities, strict=True)


def test_a_failed_image_has_no_class_and_probability_anywhere() -> None:
    ranking = Ranking.of(np.array([[0.1, 0.9], [0.8, 0.2]], np.float32), 2)
    ranking.fail(0)
    assert ranking.classes.tolist() == [[FAILED, FAILED], [0, 1]]
    assert ranking.by_class()[0].tolist() == [0.0, 0.0]


def differs(one: list[float], other: list[float], depth: int) -> bool:
    rankings = [Ranking.of(np.array([row], np.float32), depth) for row in (one, other)]
    return bool(rankings[0].differing(rankings[1])[0])


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@given(noise=st.lists(st.floats(-0.9, 0.9), min_size=4, max_size=4))
def test_rounding_never_makes_two_outcomes_different(depth: int, noise: list[float]) -> None:
    for one in ([0.4, 0.4, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25]):
        other = [p + n * SAME_SCORE for p, n in zip(one, noise, strict=True)]
        assert not differs(one, other, depth)


@pytest.mark.parametrize(
    ("one", "other", "depth"),
    [
        ([0.6, 0.3, 0.1], [0.3, 0.6, 0.1], 1),
        ([0.6, 0.3, 0.1], [0.6, 0.1, 0.3], 2),
        ([0.6, 0.3, 0.1], [0.6, 0.3, 0.05], 3),
        ([0.5, 0.2, 0.2, 0.1], [0.5, 0.2, 0.1, 0.2], 3),
    ],
    ids=["the first class", "the second", "a score", "one of a tie goes, the other stays"],
)
def test_another_outcome_is_seen(one: list[float], other: list[float], depth: int) -> None:
    assert differs(one, other, depth)
    assert differs(other, one, depth)


def test_what_lies_below_the_last_rank_says_nothing() -> None:
    assert not differs([0.6, 0.3, 0.1], [0.6, 0.1, 0.3], 1)
