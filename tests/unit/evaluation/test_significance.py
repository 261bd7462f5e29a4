"""Exact tests and intervals of counts, beside SciPy and by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from evaluation.significance import at_least, at_least_among, at_most, mcnemar, wilson_interval


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (0, 5, 2 / 32),
        (2, 10, 2 * (1 + 12 + 66) / 4096),
        (10, 2, 2 * (1 + 12 + 66) / 4096),
        (20, 31, binomtest(20, 51).pvalue),
        (59, 294, binomtest(59, 353).pvalue),
        (40_000, 41_000, binomtest(40_000, 81_000).pvalue),
    ],
)
def test_mcnemar_is_exact(gained: int, lost: int, p: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p, rel=1e-7)


@given(st.integers(0, 400), st.integers(0, 400), st.floats(0, 1))
def test_tails_are_those_of_the_binomial_distribution(a: int, b: int, chance: float) -> None:
    count, trials = min(a, b), max(a, b)
    tail = binom.cdf(count, trials, chance)
    assert at_most(count, trials, chance) == pytest.approx(tail, rel=1e-6, abs=1e-12)
    tail = binom.sf(count - 1, trials, chance)
    assert at_least(count, trials, chance) == pytest.approx(tail, rel=1e-6, abs=1e-12)


@given(st.lists(st.floats(0, 1), max_size=30), st.integers(0, 31))
def test_the_number_of_events_is_binomial_where_all_have_the_same_chance(
    chances: list[float], count: int
) -> None:
    same = [chances[0]] * len(chances) if chances else []
    expected = binom.sf(count - 1, len(same), same[0] if same else 0.5)
    assert at_least_among(count, same) == pytest.approx(expected, abs=1e-9)


def test_events_have_their_own_chances() -> None:
    assert at_least_among(2, [0.5, 0.2]) == pytest.approx(0.1)
    assert at_least_among(1, [0.5, 0.2]) == pytest.approx(1 - 0.5 * 0.8)
    assert at_least_among(0, [0.5, 0.2]) == 1
    assert at_least_among(3, [0.5, 0.2]) == 0


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 1, 0.2065, 1.0)],
)
def test_wilson_intervals(right: int, count: int, low: float, high: float) -> None:
    assert wilson_interval(right, count) == pytest.approx((low, high), abs=1e-4)
