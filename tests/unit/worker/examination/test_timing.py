"""Times of versions side by side; with real models in tests/integration/trainer/test_gate.py."""

from collections.abc import Callable
from time import perf_counter

import numpy as np
import pytest

from imaging.images import Pixels
from tests.builders import images_of
from worker.examination.timing import MOST_TURNS, in_turns


class BusyMachine:
    """Predictors that work for some milliseconds, and longer from some moment on."""

    def __init__(self, *, busy_after: int = 10_000, busy: float = 1.0) -> None:
        self.calls: list[str] = []
        self.busy_after, self.busy = busy_after, busy

    def predictor(self, name: str, milliseconds: float) -> Callable[[Pixels], object]:
        def predict(image: Pixels) -> None:
            assert image.shape == (1, 4, 4, 1)
            factor = self.busy if len(self.calls) >= self.busy_after else 1.0
            self.calls.append(name)
            until = perf_counter() + factor * milliseconds / 1000
            while perf_counter() < until:
                pass

        return predict


def test_versions_are_timed_in_turns() -> None:
    machine = BusyMachine()
    predictors = [machine.predictor("fast", 0.1), machine.predictor("slow", 0.4)]
    fast, slow = in_turns(predictors, images_of([1]))
    assert machine.calls == ["fast", "slow"] * MOST_TURNS
    assert slow.latency_ms / fast.latency_ms == pytest.approx(4, rel=0.4)
    assert slow.cpu_ms / fast.cpu_ms == pytest.approx(4, rel=0.4)


def test_a_machine_that_becomes_busy_meanwhile_makes_none_of_two_slower() -> None:
    machine = BusyMachine(busy_after=MOST_TURNS + 50, busy=10)
    predictors = [machine.predictor("first", 0.1), machine.predictor("second", 0.1)]
    first, second = in_turns(predictors, images_of([1]))
    assert second.cpu_ms / first.cpu_ms == pytest.approx(1, rel=0.5)


def test_a_version_that_takes_long_is_asked_a_few_times_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.examination.timing.SECONDS", 0.01)
    machine = BusyMachine()
    (timing,) = in_turns([machine.predictor("slow", 5)], np.zeros((1, 4, 4, 1), np.uint8))
    assert len(machine.calls) == 5
    assert timing.latency_ms >= 5
