"""Would a model fit a data set far better with pixels of another scale, or labels in another order?

What is wrong with a file from elsewhere is often just that, and nothing else tells it.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.significance import mcnemar
from imaging.images import Shape
from imaging.scalings import Scaling, scalings_for
from storage.class_names import Classes
from storage.datasets.store import DataSet
from trainer.models.repair_scripts import program, rebuild
from trainer.promotion.examination_process import Examination
from trainer.promotion.gate import SPLIT

ALPHA, LIKELY = 0.001, 0.05
"""By chance, less likely than the first is sure, and likelier than the second not worth a word."""
FAR_BETTER = 2.0
"""So many times as many right, or as few wrong."""
CHANGE = 0.02
"""A change more must gain so much: what makes no difference is not advised."""
MOST_NAMED = 10
MOST_FACTORIAL = 150
"""The factorial of more is no float."""

Right = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Order:
    """The names of a model's classes in some order."""

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Trial:
    rows: NDArray[np.int64]
    """Of which test images (n,)."""
    predictions: NDArray[np.int32]
    """Indices of its outputs (n,)."""
    scaling: Scaling | None = None


@dataclass(frozen=True, kw_only=True)
class BetterFit:
    """How a model would be right far more often."""

    now: float
    """Share of right predictions on the images that were tried, as it is."""
    then: float
    images: int
    sure: bool
    """Whether it cannot be chance."""
    scaling: Scaling | None
    order: Order | None

    def tell(self, path: Path, shape: Shape) -> str:
        """What it is and how to get it, as the end of a sentence about the file."""
        changes = []
        if self.scaling:
            changes.append(f"with pixels {self.scaling.name}")
        if self.order:
            changes.append(f"with labels {self.order.name}")
        told = (
            f"as it is, it has {self.now:.4f} of {self.images:,} test images right; "
            f"{' and '.join(changes)} it would be {self.then:.4f}"
        )
        remedy = ""
        if self.order:
            remedy += ". Write the labels in that order:" + program(*cut(self.order.labels))
        if self.scaling:
            remedy += "\nScale" if remedy else ". Scale"
            remedy += " the pixels at its start:"
            remedy += rebuild(path, shape, [*self.scaling.layers, "answer = model(scaled)"])
        return told + remedy


def find_better_fit(
    labels: Sequence[str], dataset: DataSet, found: Examination
) -> BetterFit | None:
    """What would make twice as many predictions right, or half as many wrong, if anything."""
    classes = dataset.description.classes
    actual = np.asarray(dataset.labels(SPLIT))

    def right(order: Sequence[str], trial: Trial) -> Right:
        return are_right(order, trial.predictions, classes, actual[trial.rows])

    given = Order(name="as they are", labels=tuple(labels))
    orders = [given, *other_orders(labels, dataset)]
    trials = list(trials_in(found, dataset))
    as_it_is = trials[0]
    tried = [(trial, order, len(orders) * len(trials)) for trial in trials for order in orders]
    if order := order_by_answers(labels, classes, actual, found.predictions):
        tried.append((as_it_is, order, math.factorial(min(len(labels), MOST_FACTORIAL))))

    def merit(one: tuple[Trial, Order, int]) -> float:
        trial, order, _ = one
        changes = (trial is not as_it_is) + (order is not given)
        return float(right(order.labels, trial).mean()) - CHANGE * changes

    trial, order, chances = max(tried, key=merit)
    before = right(labels, replace(trial, predictions=found.predictions[trial.rows]))
    after = right(order.labels, trial)
    chance = mcnemar(int((after & ~before).sum()), int((before & ~after).sum()))
    if not is_far_better(before, after) or chance >= LIKELY:
        return None
    return BetterFit(
        now=float(before.mean()),
        then=float(after.mean()),
        images=len(after),
        sure=chance < ALPHA / chances,
        scaling=trial.scaling,
        order=None if order is given else order,
    )


def trials_in(found: Examination, dataset: DataSet) -> Iterator[Trial]:
    """What a model answered: as it is, and then in other scales."""
    yield Trial(rows=np.arange(len(found.predictions)), predictions=found.predictions)
    if found.rows is not None and found.trials is not None:
        scalings = scalings_for(dataset.description.shape[-1])
        for scaling, predictions in zip(scalings, found.trials, strict=False):
            yield Trial(rows=found.rows, predictions=predictions, scaling=scaling)


def another_scale_fits(labels: Sequence[str], dataset: DataSet, found: Examination) -> bool:
    """Whether as many predictions, or more, are right with pixels of another scale."""
    if found.rows is None or found.trials is None:
        return False
    classes, actual = dataset.description.classes, dataset.labels(SPLIT)[found.rows]
    answers = [found.predictions[found.rows], *found.trials]
    now, *then = (are_right(labels, answer, classes, actual).sum() for answer in answers)
    return any(count >= now for count in then)


def are_right(
    labels: Sequence[str],
    predictions: NDArray[np.int32],
    classes: Sequence[str],
    actual: NDArray[np.integer],
) -> Right:
    """Which predictions, indices of the labels, are the actual classes, indices of those."""
    position = Classes(classes)
    right: Right = np.array([position[label] for label in labels])[predictions] == actual
    return right


def is_far_better(before: Right, after: Right) -> bool:
    """Whether twice as many are right, or half as many wrong."""
    gained = after.sum() > before.sum()
    twice = after.sum() >= FAR_BETTER * before.sum()
    half = (~before).sum() >= FAR_BETTER * (~after).sum()
    return bool(gained and (twice or half))


def other_orders(labels: Sequence[str], dataset: DataSet) -> Iterator[Order]:
    """Orders that the same names often have."""
    position = Classes(dataset.description.classes)
    orders = {
        f"in the order of data set {dataset}": sorted(labels, key=position.__getitem__),
        "sorted by name": sorted(labels),
        "sorted by name, numbers by value": sorted(labels, key=natural),
        "sorted by name, capitals or not": sorted(labels, key=str.casefold),
        "the other way round": list(reversed(labels)),
    }
    seen = [list(labels)]
    for name, order in orders.items():
        if order not in seen:
            seen.append(order)
            yield Order(name=name, labels=tuple(order))


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts numbers inside names by their value."""
    words = re.split(r"([0-9]+)", name)
    return [(int(word), "") if i % 2 else (-1, word) for i, word in enumerate(words)]


def order_by_answers(
    labels: Sequence[str],
    classes: Sequence[str],
    actual: NDArray[np.integer],
    predictions: NDArray[np.int32],
) -> Order | None:
    """The order in which each output names the class whose images it stands for, if there is one.

    Every output must win a class of its own.
    """
    matrix = np.zeros((len(labels), len(classes)), np.int64)
    np.add.at(matrix, (predictions, actual), 1)
    best = matrix.argmax(axis=1)
    if len(set(best.tolist())) < len(classes) or not matrix.any(axis=1).all():
        return None
    return Order(name="in another order", labels=tuple(classes[i] for i in best))


def cut(labels: Sequence[str]) -> list[str]:
    """The first names, and how many more."""
    more = len(labels) - MOST_NAMED
    return [*labels[:MOST_NAMED], *([f"... and {more:,} more"] if more > 0 else [])]
