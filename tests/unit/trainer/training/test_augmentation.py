"""What is drawn for each image; that TensorFlow does it is for the integration tests to see."""

import numpy as np
import pytest
from numpy.typing import NDArray

from imaging.images import Shape
from trainer.training.augmentation import Augmentation
from trainer.training.networks import DIGITS, DIGITS_FARTHER, NETWORKS

SHAPE: Shape = (24, 40, 3)


def draw(augmentation: Augmentation, count: int = 200, seed: int = 1) -> NDArray[np.float32]:
    return augmentation.draw(np.random.default_rng(seed), count, SHAPE)


def places(transforms: NDArray[np.float32], x: float, y: float) -> NDArray[np.float64]:
    """Where in the input the output pixel at x, y comes from, (N, 2)."""
    matrices = np.concatenate([transforms, np.ones((len(transforms), 1))], axis=1)
    found: NDArray[np.float64] = matrices.reshape(-1, 3, 3) @ np.array([x, y, 1.0])
    return found[:, :2]


def test_nothing_is_changed_unless_it_is_asked_for() -> None:
    assert (draw(Augmentation()) == [1, 0, 0, 0, 1, 0, 0, 0]).all()


def test_about_half_of_the_images_are_mirrored() -> None:
    found = places(draw(Augmentation(flip=True)), 3, 7)
    mirrored = (found == [SHAPE[1] - 1 - 3, 7]).all(axis=1)
    assert (mirrored | (found == [3, 7]).all(axis=1)).all()
    assert 70 < mirrored.sum() < 130


def test_images_are_moved_by_whole_pixels_as_far_as_they_may_be() -> None:
    moved = places(draw(Augmentation(translation=0.125)), 0, 0)
    assert (moved == np.rint(moved)).all()
    assert set(moved[:, 0]) == set(range(-5, 6))
    assert set(moved[:, 1]) == set(range(-3, 4))


def test_turning_and_zooming_leave_the_middle_in_its_place() -> None:
    transforms = draw(Augmentation(rotation=30, zoom=0.2))
    x, y = (SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2
    np.testing.assert_allclose(places(transforms, x, y), np.full((200, 2), [x, y]), atol=1e-4)
    reach = places(transforms, x + 10, y) - [x, y]
    lengths, angles = np.hypot(*reach.T), np.rad2deg(np.arctan2(reach[:, 1], reach[:, 0]))
    assert 8 <= lengths.min() < 8.3
    assert 11.7 < lengths.max() <= 12
    assert -30 <= angles.min() < -28
    assert 28 < angles.max() <= 30


def test_leaning_moves_lines_sideways_the_more_the_farther_they_are_from_the_middle() -> None:
    transforms = draw(Augmentation(shear=20))
    x, y = (SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2
    np.testing.assert_allclose(places(transforms, x + 10, y), np.full((200, 2), [x + 10, y]))
    moved = places(transforms, x, y + 10) - [x, y + 10]
    np.testing.assert_allclose(moved[:, 1], 0, atol=1e-5)
    np.testing.assert_allclose(places(transforms, x, y + 5) - [x, y + 5], moved / 2, atol=1e-5)
    assert -20 <= np.rad2deg(np.arctan(moved[:, 0].min() / 10)) < -18
    assert 18 < np.rad2deg(np.arctan(moved[:, 0].max() / 10)) <= 20


def test_the_same_seed_draws_the_same_and_another_seed_other_changes() -> None:
    augmentation = NETWORKS["cnn"].augmentation
    assert (draw(augmentation) == draw(augmentation)).all()
    assert (draw(augmentation) != draw(augmentation, seed=2)).any()


@pytest.mark.parametrize("augmentation", [DIGITS, DIGITS_FARTHER])
def test_digits_are_never_mirrored(augmentation: Augmentation) -> None:
    a, b, _, d, e = draw(augmentation, 5000).T[:5]
    assert (a * e - b * d > 0).all()
