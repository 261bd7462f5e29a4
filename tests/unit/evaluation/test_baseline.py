"""The baseline of a model version: its histograms and the features of its pixels."""

import numpy as np
import pytest
from pydantic import ValidationError

from evaluation.baseline import Baseline, Histogram, pixel_features
from storage.models.store import Manifest
from tests.builders import describe_model
from tests.digits import digits


def test_a_histogram_has_ten_bins_of_equally_many_values() -> None:
    histogram = Histogram.of(np.random.default_rng(1).normal(size=1000))
    assert histogram.counts == (100,) * 10


def test_many_equal_values_share_one_bin_and_nothing_is_lost() -> None:
    values = np.array([0.0] * 700 + [1.0] * 300)
    histogram = Histogram.of(values)
    assert sum(histogram.counts) == 1000
    assert 300 in histogram.counts
    assert histogram.count(np.array([-5.0, 0.5, 7.0])).sum() == 3


def test_a_histogram_with_a_bin_missing_is_refused() -> None:
    with pytest.raises(ValidationError, match="one bin more"):
        Histogram(edges=(0.5,), counts=(1,))


def test_turning_an_image_turns_its_figures() -> None:
    images = digits()[0][:50, ..., None]
    plain = pixel_features(images)
    quarter = pixel_features(np.rot90(images, axes=(1, 2)))
    np.testing.assert_allclose(quarter["top to bottom"], -plain["left to right"], atol=1e-9)
    np.testing.assert_allclose(quarter["left to right"], plain["top to bottom"], atol=1e-9)
    np.testing.assert_allclose(quarter["wide or tall"], -plain["wide or tall"], atol=1e-9)
    np.testing.assert_allclose(quarter["slant"], -plain["slant"], atol=1e-9)
    for name in ("brightness", "contrast", "roughness"):
        np.testing.assert_allclose(quarter[name], plain[name])


def test_where_the_ink_is_does_not_depend_on_which_grey_is_the_background() -> None:
    images = digits()[0][:50, ..., None]
    plain, inverted = pixel_features(images), pixel_features(255 - images)
    np.testing.assert_allclose(inverted["slant"], plain["slant"], atol=1e-9)
    np.testing.assert_allclose(inverted["brightness"], 255 - plain["brightness"])


def test_swapped_colour_channels_show(random: np.random.Generator) -> None:
    images = random.integers(0, 256, (9, 5, 4, 3), np.uint8)
    swapped = pixel_features(images[..., ::-1])["red less blue"]
    np.testing.assert_allclose(swapped, -pixel_features(images)["red less blue"])


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 3), (7, 1, 4), (3, 3, 2)])
@pytest.mark.parametrize("value", [0, 255])
def test_images_of_one_colour_and_thin_ones_have_figures_too(
    shape: tuple[int, int, int], value: int
) -> None:
    features = pixel_features(np.full((3, *shape), value, np.uint8))
    assert ("red less blue" in features) == (shape[-1] >= 3)
    for name, values in features.items():
        assert values.shape == (3,)
        expected = value if name == "brightness" else 0
        np.testing.assert_allclose(values, expected, atol=1e-9)


def test_the_figures_of_many_images_are_those_of_each(random: np.random.Generator) -> None:
    images = random.integers(0, 256, (12, 400, 300, 1), np.uint8)  # more than one chunk
    for name, values in pixel_features(images).items():
        assert values.shape == (12,)
        assert values[11] == pixel_features(images, [11])[name][0]


def test_a_baseline_counts_predictions_and_scores_and_survives_its_manifest(
    random: np.random.Generator,
) -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.9, 0.1, 0.0]])
    images = random.integers(0, 256, (3, 4, 4, 1), np.uint8)
    baseline = Baseline.of(probabilities, images)
    assert baseline.classes == (2, 0, 1)
    assert sum(baseline.scores.counts) == 3
    manifest = describe_model(baseline=baseline)
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(1)
