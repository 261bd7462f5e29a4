"""How often a job is warned of drift: undisturbed ones, and turned, noisy and dimmed ones.

    python -m benchmarks.drift mnist@1

Prints a table. Jobs are drawn, with a seed, from training images that were held back from the
training: neither the model nor its baseline has seen them. BATCHSIGHT_STORAGE says where both are.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.baseline import Baseline, comparable, pixel_features
from evaluation.drift import Observed, compare
from evaluation.ranking import Ranking
from imaging.images import Pixels
from storage.datasets.store import DataSet, DatasetStore
from storage.models.store import ModelStore, ModelVersion
from storage.settings import storage_settings
from worker.runtimes.model_cache import load_predictor
from worker.runtimes.predictor import Predictor

SIZES = (50, 200, 1000, 5000)
ROUNDS = 200
VALIDATION_SHARE = 0.1


def turned(degrees: float) -> Callable[[Pixels], Pixels]:
    """Turn every image about its centre."""

    def turn(images: Pixels) -> Pixels:
        return np.stack(
            [
                np.asarray(
                    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).rotate(
                        degrees, Image.Resampling.BILINEAR
                    )
                ).reshape(image.shape)
                for image in images
            ]
        )

    return turn


def noisy(deviation: float) -> Callable[[Pixels], Pixels]:
    """Add Gaussian noise, in grey levels."""

    def add(images: Pixels) -> Pixels:
        noise = np.random.default_rng(2).normal(0, deviation, images.shape)
        return np.clip(images + noise, 0, 255).round().astype(np.uint8)

    return add


def dimmed(factor: float) -> Callable[[Pixels], Pixels]:
    """Multiply all pixels."""
    return lambda images: (images * factor).round().astype(np.uint8)


DISTURBANCES: dict[str, Callable[[Pixels], Pixels]] = {
    "undisturbed": lambda images: images,
    "turned by 15°": turned(15),
    "turned by 30°": turned(30),
    "turned by 90°": turned(90),
    "upside down": turned(180),
    "noise of 10 grey levels": noisy(10),
    "noise of 40 grey levels": noisy(40),
    "dimmed by 20 %": dimmed(0.8),
    "black and white swapped": lambda images: 255 - images,
}


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Images that jobs are drawn from, with what is known of each of them (N,)."""

    predictions: NDArray[np.int32]
    scores: NDArray[np.float64]
    features: dict[str, NDArray[np.float64]]

    def observe(self, rows: NDArray[np.int64], baseline: Baseline) -> Observed:
        """What a job of some of the images comes to."""
        return Observed(
            classes=np.bincount(self.predictions[rows], minlength=len(baseline.classes)),
            scores=baseline.scores.count(self.scores[rows]),
            pixels={
                name: baseline.pixels[name].count(values[rows])
                for name, values in self.features.items()
            },
        )


def held_back(dataset: DataSet, seed: int) -> Pixels:
    """The training images that the training with this seed only validated with."""
    order = np.random.default_rng(seed).permutation(dataset.training_rows())
    rows = np.sort(order[-round(VALIDATION_SHARE * len(order)) :])
    return np.asarray(dataset.images("train")[rows])


def pool_of(images: Pixels, predictor: Predictor) -> Pool:
    """Classify and measure."""
    found = Ranking.of(predictor(images), 1)
    return Pool(
        predictions=found.classes[:, 0],
        scores=comparable(found.scores[:, 0]),
        features=pixel_features(images),
    )


def rate(pool: Pool, baseline: Baseline, size: int, rounds: int) -> float:
    """Share of the jobs that are warned of."""
    random = np.random.default_rng(size)
    warned = 0
    for _ in range(rounds):
        rows = random.choice(len(pool.scores), size, replace=False)
        warned += any(c.drifted for c in compare(baseline, pool.observe(rows, baseline)))
    return warned / rounds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift", description=__doc__)
    parser.add_argument("model", help="a version with a baseline, such as mnist@1")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    root = storage_settings().root
    version: ModelVersion = ModelStore(root).resolve(options.model)
    manifest = version.manifest
    if manifest.baseline is None:
        parser.error(f"{version} has no baseline: train it again.")
    if manifest.dataset is None or manifest.seed is None:
        parser.error(f"{version} was not trained here: choose one that was.")
    images = held_back(
        DatasetStore(root).get(f"{manifest.dataset}@{manifest.dataset_number}"), manifest.seed
    )
    predictor = load_predictor(version)
    sizes = [size for size in SIZES if size <= len(images)]
    print(f"| {version} | {' | '.join(f'{size:,}' for size in sizes)} |")
    print(f"|---|{'---|' * len(sizes)}")
    for name, disturb in DISTURBANCES.items():
        pool = pool_of(disturb(images), predictor)
        rates = (rate(pool, manifest.baseline, size, options.rounds) for size in sizes)
        print(f"| {name} | {' | '.join(f'{share:.1%}' for share in rates)} |", flush=True)


if __name__ == "__main__":
    main()
