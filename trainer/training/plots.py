"""The pictures beside a model: what it learned from, how it learned and what it says."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from numpy.typing import NDArray

from evaluation.confusion import Evaluation
from storage.datasets.store import DataSet
from trainer.promotion.gate import Answers
from trainer.training.drawing import confusion_picture, image_grid, new_figure, shorten
from trainer.training.progress import EpochReport

SAMPLES, PREDICTIONS = 9, 20
MOST_COMPARED_CLASSES = 25
TITLE_WIDTH = 68


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
    tested = f"{title} on {dataset}:test, {evaluation.accuracy or 0:.2%} right"
    confusion_picture(evaluation, folder / "confusion.png", tested)
    draw_predictions(folder / "predictions.png", dataset, probabilities, title)


def draw_samples(path: Path, dataset: DataSet) -> None:
    """A 3 x 3 grid of the first training images with their labels."""
    images = dataset.images("train")[:SAMPLES]
    names = dataset.description.classes
    captions = [shorten(names[label]) for label in dataset.labels("train")[:SAMPLES]]
    title = f"{dataset}: training images"
    image_grid(list(images), captions, [False] * len(images), path, title, columns=3)


def draw_predictions(
    path: Path, dataset: DataSet, probabilities: NDArray[np.floating], title: str
) -> None:
    """Test images with predicted and actual label, the surest mistakes first and marked."""
    names = dataset.description.classes
    actual, predicted = dataset.labels("test"), probabilities.argmax(axis=1)
    wrong = predicted != actual
    shown = np.lexsort((-probabilities.max(axis=1) * wrong, ~wrong))[:PREDICTIONS]
    captions = [
        f"predicted {shorten(names[predicted[i]])}\nactual {shorten(names[actual[i]])}"
        for i in shown
    ]
    images = [dataset.images("test")[i] for i in shown]
    told = f"{title}\n{wrong.sum():,} of {len(wrong):,} test images are wrong"
    if wrong.any():
        told += ", the surest mistakes first"
    image_grid(images, captions, list(wrong[shown]), path, told)


def draw_curves(path: Path, history: Sequence[EpochReport], title: str) -> None:
    """Accuracy and loss of training and validation images, by epoch."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    epochs = [report.epoch for report in history]
    with new_figure((8.4, 3.7), path, title) as figure:
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


def draw_comparison(path: Path, dataset: DataSet, first: Answers, second: Answers) -> None:
    """Recall of each class by two versions, and how far their scores tell the truth.

    Of more than 25 classes those that differ most are shown.
    """
    from matplotlib.ticker import PercentFormatter

    recalls = [np.array(answers.performance.recall) for answers in (first, second)]
    change = np.abs(recalls[1] - recalls[0])
    shown = np.sort(np.argsort(-change, kind="stable")[:MOST_COMPARED_CLASSES])
    height = max(3.6, 1.6 + 0.24 * len(shown))
    title = f"{first.version} and {second.version} on {dataset}:test"
    title = fill(title, TITLE_WIDTH, break_on_hyphens=False)
    with new_figure((9.0, height), path, title) as figure:
        left, right = figure.subplots(1, 2)
        lines = np.arange(len(shown))
        left.hlines(lines, recalls[0][shown], recalls[1][shown], color="#c9d1d9", linewidth=3)
        right.plot([0, 1], [0, 1], color="#c9d1d9", linewidth=1)
        for answers, recall, marker in ((first, recalls[0], "o"), (second, recalls[1], "s")):
            calibration = answers.calibration
            label = f"{shorten(answers.version.name)}@{answers.version.number}"
            right_share = f"{label}, {calibration.accuracy:.2%} right"
            left.plot(recall[shown], lines, marker, label=right_share)
            off = f"{label}, off by {calibration.error:.3f}"
            bins = calibration.bins
            scores, shares = [b.score for b in bins], [b.accuracy for b in bins]
            right.plot(scores, shares, marker=marker, label=off)
        left.set_yticks(lines, [shorten(dataset.description.classes[c]) for c in shown])
        left.invert_yaxis()
        left.grid(visible=False, axis="y")
        left.set(title="recognised of each class", xlabel="recall")
        left.xaxis.set_major_formatter(PercentFormatter(xmax=1))
        right.set(title="do scores tell the truth", xlabel="score", ylabel="share of right")
        for axes in (left, right):
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=8.5)
