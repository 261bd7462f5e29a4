"""Exact tests and calibration, beside SciPy and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from trainer.significance import (
    at_least,
    at_most,
    calibration_by_chance,
    calibration_error,
    mcnemar,
)


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


def test_calibration_compares_scores_with_what_was_right() -> None:
    scores = np.array([0.9, 0.9, 0.9, 0.9, 0.5, 0.5, 1.0, 0.0])
    right = np.array([True, True, True, False, True, False, True, False])
    # Four of 0.9 with three right, two of 0.5 with one right, and two that are as certain as right.
    assert calibration_error(scores, right) == pytest.approx(abs(4 * 0.9 - 3) / 8)


def test_well_calibrated_scores_stay_below_what_chance_allows() -> None:
    generator = np.random.default_rng(2)
    scores = generator.random(500)
    allowed = calibration_by_chance(scores, 0.01)
    assert calibration_error(scores, generator.random(500) < scores) < allowed < 0.15
    assert calibration_error(scores, generator.random(500) < scores**2) > allowed
