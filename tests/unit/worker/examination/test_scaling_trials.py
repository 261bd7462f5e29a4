"""What an examination measures and tries, and how long it may take for that."""

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from imaging.images import Pixels
from imaging.scalings import scalings_for
from storage.models.examination_messages import ExaminationRequest
from storage.models.store import ModelStore
from tests.builders import SHAPE, as_any, images_of, publish
from worker.errors import ModelRefused
from worker.examination.scaling_trials import try_scalings
from worker.examination.speed import check_duration, measure_speed


class Slow:
    """A predictor that takes its time for each image, and remembers how many it got."""

    shape = SHAPE
    chunk = 50

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.counts: list[int] = []

    def __call__(self, pixels: Pixels) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        self.counts.append(len(pixels))
        time.sleep(self.seconds * len(pixels))
        return np.zeros(len(pixels), np.int32), np.ones(len(pixels), np.float32)

    def classify_scaled(self, pixels: NDArray[np.float32]) -> NDArray[np.int32]:
        self(as_any(pixels))
        return np.rint(pixels[:, 0, 0, 0]).astype(np.int32)


@pytest.fixture
def request_of(tmp_path: Path) -> ExaminationRequest:
    version = publish(ModelStore(tmp_path))
    return ExaminationRequest.of(version, tmp_path / "x.npy", tmp_path / "y.npz", 4, trials=True)


def test_speed_is_measured_with_as_many_images_as_a_batch_takes_at_a_time() -> None:
    predictor = Slow(0.0002)
    speed = measure_speed(as_any(predictor), latency=0.0002)
    assert set(predictor.counts) == {50}
    assert 500 < speed <= 5000


def test_a_slow_model_is_measured_with_few_images() -> None:
    predictor = Slow(0.4)
    speed = measure_speed(as_any(predictor), latency=0.4)
    assert speed <= 2.5
    assert max(predictor.counts) == 2
    assert sum(predictor.counts) <= 8
    slower = Slow(0.0)
    measure_speed(as_any(slower), latency=100.0)
    assert set(slower.counts) == {1}


def test_a_test_that_would_take_far_too_long_is_refused_at_once(
    request_of: ExaminationRequest,
) -> None:
    predictor, images = Slow(0.01), images_of([0] * 3000)
    with pytest.raises(
        ModelRefused,
        match=r"about [01] minutes for the 3,000 test images.*GATE_SECONDS, or import it without",
    ):
        check_duration(request_of, as_any(predictor), images)
    assert sum(predictor.counts) == 50
    check_duration(request_of, as_any(predictor), images_of([0] * 300))


def test_scalings_are_tried_on_images_from_the_whole_split(request_of: ExaminationRequest) -> None:
    images = images_of([0, 255] * 500)
    tried = try_scalings(request_of, as_any(Slow(0.0)), images, 1e6)
    rows, trials = tried["rows"], tried["trials"]
    assert len(rows) == 300
    assert (rows[0], rows[-1]) == (0, 999)
    assert trials.shape == (len(scalings_for(1)), 300)
    assert trials[0].tolist() == [row % 2 for row in rows]  # 0 to 1
    assert trials[1].tolist() == [2 * (row % 2) - 1 for row in rows]  # -1 to 1


def test_a_slow_model_is_tried_on_few_images_and_not_in_every_scale(
    request_of: ExaminationRequest,
) -> None:
    predictor = Slow(0.05)
    tried = try_scalings(request_of, as_any(predictor), images_of([0] * 1000), 20.0)
    assert predictor.counts == [24]
    assert tried["trials"].shape == (1, 24)


def test_nothing_is_tried_unless_asked(request_of: ExaminationRequest) -> None:
    silent = request_of.model_copy(update={"trials": False})
    assert try_scalings(silent, as_any(Slow(0.0)), images_of([0]), 1e6) == {}
