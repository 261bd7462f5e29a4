"""What a model version saw and said when it was tested: what its jobs are compared with.

Everything is a histogram of one feature per image, so that a job of any size is compared by counts
that are added up batch by batch.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, model_validator

from evaluation.confusion import IntArray
from imaging.images import Pixels

FloatArray = NDArray[np.float64]

BINS = 10
PIXEL_SAMPLE = 10_000
"""Of so many test images the pixels are looked at, at most."""
CHUNK_PIXELS = 2**20
DECIMALS = 5
"""Values are compared as rounded: their last bits differ between machines and batch sizes."""


class Histogram(BaseModel, frozen=True):
    """How many values lay between the edges; the outer two bins have no end."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @model_validator(mode="after")
    def _has_a_bin_more_than_edges(self) -> "Histogram":
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError("a histogram has one bin more than edges")
        return self

    @classmethod
    def of(cls, values: FloatArray) -> "Histogram":
        """Bins of about equally many values, fewer where many are the same."""
        inner = np.arange(1, BINS) / BINS
        edges = np.unique(np.quantile(values, inner)) if len(values) else np.empty(0)
        counts = count_between(edges, values)
        return cls(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))

    def count(self, values: FloatArray) -> IntArray:
        """Other values (N,) counted into the same bins."""
        return count_between(np.array(self.edges), values)


class Baseline(BaseModel, frozen=True):
    """Predictions, scores and pixels of the test images, as counts."""

    classes: tuple[int, ...]
    """Images by predicted class."""
    scores: Histogram
    """Of the probability of the predicted class."""
    pixels: dict[str, Histogram]
    """By name of the feature, see `pixel_features`."""

    @classmethod
    def of(cls, probabilities: NDArray[np.floating], images: Pixels) -> "Baseline":
        """Count class probabilities (N, classes) of test images, uint8 (N, H, W, C)."""
        predicted = probabilities.argmax(axis=1)
        count = min(len(images), PIXEL_SAMPLE)
        rows = np.sort(np.random.default_rng(1).choice(len(images), count, replace=False))
        features = pixel_features(images, rows)
        return cls(
            classes=tuple(np.bincount(predicted, minlength=probabilities.shape[1]).tolist()),
            scores=Histogram.of(comparable(probabilities.max(axis=1))),
            pixels={name: Histogram.of(values) for name, values in features.items()},
        )


def count_between(edges: FloatArray, values: FloatArray) -> IntArray:
    """How many values lie below the first edge, from each edge to the next, and beyond the last."""
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)


def comparable(values: NDArray[np.floating]) -> FloatArray:
    """Values without the bits that depend on the machine."""
    return np.asarray(np.round(values.astype(np.float64), DECIMALS), np.float64)


def pixel_features(
    images: Pixels, rows: "NDArray[np.integer] | Sequence[int] | None" = None
) -> dict[str, FloatArray]:
    """Metrics (N,) of uint8 images (N, H, W, C), or of the given rows of them.

    Brightness, contrast and roughness are grey levels; so is red less blue, of colour images only.
    The others tell where what stands out from the background lies and how it is turned, -1 to 1;
    they are 0 for an image of one colour.
    """
    chosen = np.arange(len(images)) if rows is None else np.asarray(rows)
    step = max(1, CHUNK_PIXELS // max(1, int(np.prod(images.shape[1:3]))))
    parts = [_figures(images[chosen[i : i + step]]) for i in range(0, len(chosen), step)]
    return {name: comparable(np.concatenate([p[name] for p in parts])) for name in parts[0]}


def _figures(images: Pixels) -> dict[str, FloatArray]:
    colours = images[..., :3].astype(np.float64)  # without the transparency
    grey = colours.mean(axis=-1)
    height, width = grey.shape[1:]
    features = {
        "brightness": grey.mean(axis=(1, 2)),
        "contrast": grey.std(axis=(1, 2)),
        "roughness": (_steps(grey, 1) + _steps(grey, 2)) / 2,
    }
    if colours.shape[-1] == 3:
        features["red less blue"] = (colours[..., 0] - colours[..., 2]).mean(axis=(1, 2))

    # First and second moments of what differs from the commonest grey, whichever is the background.
    weight = np.abs(grey - np.median(grey, axis=(1, 2), keepdims=True))
    total = weight.sum(axis=(1, 2))
    weight /= np.where(total > 0, total, 1.0)[:, None, None]
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)
    columns, lines = weight.sum(axis=1), weight.sum(axis=2)
    centre_x, centre_y = columns @ x, lines @ y
    across = columns @ x**2 - centre_x**2
    down = lines @ y**2 - centre_y**2
    both = np.einsum("nhw,h,w->n", weight, y, x) - centre_x * centre_y
    spread = np.where(across + down > 0, across + down, 1.0)
    return features | {
        "left to right": centre_x,
        "top to bottom": centre_y,
        "wide or tall": (across - down) / spread,
        "slant": 2 * both / spread,
    }


def _steps(grey: FloatArray, axis: int) -> FloatArray:
    """Mean difference between neighbours along an axis; 0 where there are none."""
    if grey.shape[axis] < 2:
        return np.zeros(len(grey))
    steps: FloatArray = np.abs(np.diff(grey, axis=axis)).mean(axis=(1, 2))
    return steps
