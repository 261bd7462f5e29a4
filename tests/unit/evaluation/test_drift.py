"""Drift: seen on turned, noisy and one-sided jobs, and not on fair samples of whatever size."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from evaluation.baseline import Baseline, comparable, pixel_features
from evaluation.drift import (
    FALSE_ALARMS,
    SMALLEST_DRIFT,
    Comparison,
    Observed,
    compare,
    compare_counts,
)
from imaging.images import Pixels
from tests.digits import digits


@dataclass(frozen=True)
class Classifier:
    """Logistic regression on digits, with the baseline of its test images."""

    model: LogisticRegression
    baseline: Baseline
    unseen: Pixels
    """Images that neither has seen."""

    def drifted(self, images: Pixels) -> list[str]:
        """Names of the features that have drifted over these images."""
        return [c.feature for c in compare(self.baseline, self.observe(images)) if c.drifted]

    def observe(self, images: Pixels) -> Observed:
        probabilities = self.model.predict_proba(flat(images))
        baseline = self.baseline
        scores = comparable(probabilities.max(axis=1))
        return Observed(
            classes=np.bincount(probabilities.argmax(axis=1), minlength=10),
            scores=baseline.scores.count(scores),
            pixels={k: baseline.pixels[k].count(v) for k, v in pixel_features(images).items()},
        )


def flat(images: Pixels) -> NDArray[np.float64]:
    return images.reshape(len(images), -1) / 255


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    images, labels = digits()
    order = np.random.default_rng(0).permutation(len(images))
    trained, tested, unseen = np.split(order, [600, 1200])
    model = LogisticRegression(C=0.1, max_iter=1000)
    model.fit(flat(images[trained]), labels[trained])
    probabilities = model.predict_proba(flat(images[tested]))
    baseline = Baseline.of(probabilities, images[tested][..., None])
    return Classifier(model, baseline, images[unseen][..., None])


def job(classifier: Classifier, size: int, seed: int) -> Pixels:
    rows = np.random.default_rng(seed).choice(len(classifier.unseen), size, replace=False)
    return classifier.unseen[rows]


@pytest.mark.parametrize("size", [1, 20, 100, 500])
def test_fair_samples_are_not_warned_of(classifier: Classifier, size: int) -> None:
    assert not [seed for seed in range(100) if classifier.drifted(job(classifier, size, seed))]


def quarter(images: Pixels) -> Pixels:
    return np.rot90(images, axes=(1, 2))


def upside_down(images: Pixels) -> Pixels:
    return images[:, ::-1, ::-1]


def noisy(images: Pixels) -> Pixels:
    noise = np.random.default_rng(1).normal(0, 40, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("disturb", "feature"),
    [(quarter, "wide or tall"), (upside_down, "scores"), (noisy, "roughness")],
)
def test_disturbed_images_are_warned_of(
    classifier: Classifier, disturb: Callable[[Pixels], Pixels], feature: str
) -> None:
    for seed in range(20):
        assert feature in classifier.drifted(disturb(job(classifier, 300, seed)))


def test_a_job_of_one_class_only_is_warned_of(classifier: Classifier) -> None:
    predicted = classifier.model.predict(flat(classifier.unseen))
    assert "predicted classes" in classifier.drifted(classifier.unseen[predicted == 7])


def counts(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def compared(expected: NDArray[np.int64], found: NDArray[np.int64]) -> Comparison:
    return compare_counts("x", expected, found, FALSE_ALARMS)


def test_the_distance_is_the_share_of_images_in_another_bin() -> None:
    assert compared(counts(50, 50), counts(1, 3)).distance == pytest.approx(0.25)


def test_what_is_sure_but_small_is_not_told() -> None:
    comparison = compared(counts(500_000, 500_000), counts(540_000, 460_000))
    assert comparison.chance < comparison.distance < SMALLEST_DRIFT
    assert not comparison.drifted


def test_the_bound_holds_for_bins_of_very_different_sizes() -> None:
    random = np.random.default_rng(1)
    shares = random.dirichlet(np.full(200, 0.3))
    expected = random.multinomial(1000, shares)
    over = [
        c.distance > c.chance
        for c in (compared(expected, random.multinomial(n, shares)) for n in [30, 300, 3000] * 200)
    ]
    assert not any(over)


def test_figures_without_images_or_without_a_baseline_are_left_out(classifier: Classifier) -> None:
    seen = classifier.observe(classifier.unseen[:50])
    nothing = {name: found * 0 for name, found in seen.pixels.items()}
    pixels = nothing | {"brightness": seen.pixels["brightness"], "warmth": counts(1)}
    comparisons = compare(
        classifier.baseline, Observed(classes=seen.classes, scores=seen.scores, pixels=pixels)
    )
    assert [c.feature for c in comparisons] == ["predicted classes", "scores", "brightness"]
