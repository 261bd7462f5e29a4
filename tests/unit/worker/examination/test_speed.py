"""How many images at a time are the fastest, on a processor whose time is played."""

from collections.abc import Callable

import numpy as np
import pytest

from imaging.images import Pixels
from tests.builders import FakePredictor, images_of
from worker.examination.speed import measure_speed

IMAGES = images_of(range(5))


class Clocked(FakePredictor):
    """Takes as many seconds for so many images as it is told, and nothing else takes any."""

    def __init__(self, usual: int, chunks: tuple[int, ...], cost: Callable[[int], float]) -> None:
        super().__init__()
        self.chunk, self.chunks, self.cost = usual, chunks, cost
        self.now = 0.0

    def __call__(self, pixels: Pixels) -> np.ndarray:
        assert len(pixels) <= self.chunk  # in one call
        self.now += self.cost(len(pixels))
        return super().__call__(pixels)


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Clocked]:
    def make(*arguments: object) -> Clocked:
        predictor = Clocked(*arguments)  # type: ignore[arg-type]
        monkeypatch.setattr("worker.examination.speed.process_time", lambda: predictor.now)
        return predictor

    return make


def spilling(count: int) -> float:
    """A millisecond an image, twice that beyond ten at a time, and one for the call."""
    return (1 + count * (1 if count <= 10 else 2)) / 1000


@pytest.mark.parametrize("usual", [2, 10, 40])
def test_the_fastest_number_of_images_at_a_time_is_found_and_kept(
    clocked: Callable[..., Clocked], usual: int
) -> None:
    predictor = clocked(usual, (2, 10, 40), spilling)
    speed = measure_speed(predictor, IMAGES, spilling(1))
    assert (speed.chunk, predictor.chunk) == (10, 10)
    assert speed.images_per_second == pytest.approx(10 / 0.011)


def test_what_is_hardly_faster_does_not_replace_the_usual(
    clocked: Callable[..., Clocked],
) -> None:
    predictor = clocked(50, (50, 100), lambda count: (1 + count) / 1000)
    assert measure_speed(predictor, IMAGES, 0.002).chunk == 50


def test_of_a_slow_network_no_more_are_tried_than_time_allows_for(
    clocked: Callable[..., Clocked],
) -> None:
    predictor = clocked(4, (4, 8, 16), lambda count: 0.06 * count)
    measure_speed(predictor, IMAGES, 0.06)
    assert {len(pixels) for pixels in predictor.calls} == {4, 8}
    slower = clocked(4, (4, 8, 16), lambda count: 0.3 * count)
    speed = measure_speed(slower, IMAGES, 0.3)
    assert {len(pixels) for pixels in slower.calls} == {2}
    assert (speed.chunk, slower.chunk) == (4, 4)
    assert speed.images_per_second == pytest.approx(1 / 0.3)
