"""One calibration error, whoever asks: the gate, a comparison, the report of a job."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from evaluation.calibration import BINS, Calibration
from producer.report.statistics.scores import Scores
from storage.jobs.results import BatchResult
from tests.builders import PIN, ranking_of

score_and_right = st.lists(
    st.tuples(
        st.one_of(
            st.floats(0, 1, width=32),
            st.integers(0, 20).map(lambda i: float(np.float32(i / 20))),  # on the edges
        ),
        st.booleans(),
    ),
    min_size=1,
    max_size=60,
)


def by_hand(scores: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """The expected calibration error, image by image in exact bins."""
    pairs: dict[int, list[tuple[float, bool]]] = {}
    for score, is_right in zip(scores.tolist(), right.tolist(), strict=True):
        pairs.setdefault(min(int(score * BINS), BINS - 1), []).append((score, is_right))
    gaps = [
        abs(sum(score for score, _ in inside) - sum(is_right for _, is_right in inside))
        for inside in pairs.values()
    ]
    return sum(gaps) / len(scores)


def of_report(scores: NDArray[np.float32], right: NDArray[np.bool_], batch: int = 7) -> Calibration:
    """What the report finds, which counts batch by batch."""
    found = Scores()
    for i in range(0, len(scores), batch):
        some = scores[i : i + batch]
        result = BatchResult(
            model=PIN, ranking=ranking_of(np.zeros(len(some), np.int32), some), errors={}
        )
        found.add(result, np.where(right[i : i + batch], 0, 1).astype(np.int32))
    return found.calibration


@given(score_and_right)
def test_the_gate_and_the_report_find_the_same_error(pairs: list[tuple[float, bool]]) -> None:
    scores, right = np.array([p[0] for p in pairs], np.float32), np.array([p[1] for p in pairs])
    expected = by_hand(scores, right)
    gate, report = Calibration.of(scores, right), of_report(scores, right)
    assert gate.error == pytest.approx(expected, abs=1e-9)
    assert report.error == pytest.approx(expected, abs=1e-9)
    np.testing.assert_array_equal(gate.images, report.images)
    assert [b.right for b in gate.bins] == [b.right for b in report.bins]


@pytest.mark.parametrize(
    ("scores", "right", "error"),
    [
        # 0.9 as a float32 lies below 0.9: in one bin with 0.85, whichever way it is counted.
        ([0.9] * 50 + [0.85] * 50, [True] * 80 + [False] * 20, 0.075),
        # Bins of another width make another error of these.
        ([0.61] * 50 + [0.69] * 50, [True] * 30 + [False] * 20 + [True] * 35 + [False] * 15, 0.0),
        ([0.62] * 50 + [0.69] * 50, [True] * 50 + [False] * 50, 0.155),
        ([1.0, 0.0], [True, False], 0.0),
    ],
)
def test_scores_at_the_edges_of_bins_have_one_error(
    scores: list[float], right: list[bool], error: float
) -> None:
    values, truth = np.array(scores, np.float32), np.array(right)
    assert Calibration.of(values, truth).error == pytest.approx(error, abs=1e-6)
    assert of_report(values, truth).error == pytest.approx(error, abs=1e-6)


def test_calibration_compares_scores_with_what_was_right() -> None:
    scores = np.array([0.9, 0.9, 0.9, 0.9, 0.5, 0.5, 1.0, 0.0])
    right = np.array([True, True, True, False, True, False, False, False])
    found = Calibration.of(scores, right)
    # Four of 0.9 and one of 1.0 with three right, two of 0.5 with one right.
    assert found.error == pytest.approx(abs(4 * 0.9 + 1 - 3) / 8)
    assert [(b.low, b.high, b.images, b.right) for b in found.bins] == [
        *((0.0, 0.1, 1, 0), (0.5, 0.6, 2, 1), (0.9, 1.0, 5, 3))
    ]
    assert found.bins[2].score == pytest.approx(0.92)
    assert found.confidence == pytest.approx(5.6 / 8)
    assert found.accuracy == 0.5


def test_of_no_predictions_nothing_is_off() -> None:
    nothing = Calibration.of(np.empty(0), np.empty(0, np.bool_))
    assert (nothing.error, nothing.count, nothing.bins) == (0.0, 0, [])
    assert not nothing.exceeds(0.0, 0.05)


@pytest.mark.parametrize(("count", "power"), [(20, 1), (300, 3), (2000, 0.2)])
def test_true_scores_are_rarely_off_by_more_than_chance_explains(count: int, power: float) -> None:
    generator = np.random.default_rng(2)
    alarms = 0
    for _ in range(50):
        scores = generator.random(count) ** power
        alarms += Calibration.of(scores, generator.random(count) < scores).exceeds(0.0, 0.05)
    assert alarms <= 8, "2.5 are expected, more than 8 are so in one case of a thousand"


def test_untrue_scores_are_off_by_more_than_chance_explains() -> None:
    generator = np.random.default_rng(2)
    scores = generator.random(500)
    found = Calibration.of(scores, generator.random(500) < scores**2)
    assert found.exceeds(0.05, 0.01)
    assert not found.exceeds(found.error, 0.01), "the limit itself is allowed"
