"""The pictures beside a model: what it learned from, how it learned and what it says."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storage.datasets import DataSet
from storage.evaluation import Evaluation
from storage.pictures import confusion_picture, image_grid, new_figure, shorten
from trainer.progress import EpochReport

SAMPLES, PREDICTIONS = 9, 20


def draw_pictures(
    folder: Path,
    title: str,
    dataset: DataSet,
    history: Sequence[EpochReport],
    evaluation: Evaluation,
    probabilities: NDArray[np.floating],
) -> None:
    """Write samples.png, curves.png, confusion.png and predictions.png into `folder`.

    `probabilities` (N, classes) are those of the test images, in their order.
    """
    draw_samples(folder / "samples.png", dataset)
    draw_curves(folder / "curves.png", history, title)
    tested = f"{title} on {dataset.name}:test, {evaluation.accuracy or 0:.2%} right"
    confusion_picture(evaluation, folder / "confusion.png", tested)
    draw_predictions(folder / "predictions.png", dataset, probabilities, title)


def draw_samples(path: Path, dataset: DataSet) -> None:
    """A 3 x 3 grid of the first training images with their labels."""
    images = dataset.images("train")[:SAMPLES]
    names = dataset.description.classes
    captions = [shorten(names[label]) for label in dataset.labels("train")[:SAMPLES]]
    title = f"{dataset.name}: training images"
    image_grid(list(images), captions, [False] * len(images), path, title, columns=3)


def draw_predictions(
    path: Path, dataset: DataSet, probabilities: NDArray[np.floating], title: str
) -> None:
    """The first test images with predicted and actual label, the wrong ones marked."""
    names = dataset.description.classes
    images = dataset.images("test")[:PREDICTIONS]
    actual = dataset.labels("test")[:PREDICTIONS]
    predicted = probabilities[:PREDICTIONS].argmax(axis=1)
    captions = [
        f"predicted {shorten(names[guess])}\nactual {shorten(names[truth])}"
        for guess, truth in zip(predicted, actual, strict=True)
    ]
    image_grid(list(images), captions, list(predicted != actual), path, f"{title}: test images")


def draw_curves(path: Path, history: Sequence[EpochReport], title: str) -> None:
    """Accuracy and loss of training and validation images, by epoch."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    epochs = [report.epoch for report in history]
    with new_figure((8.4, 3.7), path) as figure:
        figure.suptitle(title, x=0.02, ha="left")
        left, right = figure.subplots(1, 2)
        for axes, name in ((left, "accuracy"), (right, "loss")):
            for prefix, label, marker in (("", "training", "o"), ("val_", "validation", "s")):
                values = [getattr(report, prefix + name) for report in history]
                last = f"{values[-1]:.2%}" if name == "accuracy" else f"{values[-1]:.3f}"
                axes.plot(epochs, values, marker=marker, label=f"{label}, at last {last}")
            axes.set(title=name, xlabel="epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
            axes.margins(x=0.08)
            axes.legend()
        left.yaxis.set_major_formatter(PercentFormatter(xmax=1))
        right.set_ylim(bottom=0)
