"""Which contract fits images whose classes are known, and is that chance?

What is wrong with a model from elsewhere is often only the scale of its pixels or the order of its
labels, and nothing else tells it.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from console.counts import counted
from evaluation.significance import mcnemar
from imaging.preprocessing import Preprocessing
from imaging.scalings import Scaling
from storage.class_names import Classes

ALPHA, LIKELY = 0.001, 0.05
"""By chance, less likely than the first is sure, and likelier than the second not worth a word."""
ERRORS_APART = 3.0
"""A gain of so many times its standard error is none by chance."""
FAR_BETTER = 2.0
"""So many times as many right, or as few wrong."""
CHANGE = 0.02
"""A change more must gain so much: what makes no difference is not advised."""
MOST_FACTORIAL = 150
"""The factorial of more is no float."""
MOST_NAMED = 10

Right = NDArray[np.bool_]
Predictions = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """What a network answered for all images of a check in one way of giving them."""

    scaling: Scaling
    preprocessing: Preprocessing
    probabilities: NDArray[np.floating]
    """Of its outputs (n, classes)."""

    @property
    def predictions(self) -> Predictions:
        """Indices of its outputs (n,)."""
        predictions: Predictions = self.probabilities.argmax(axis=1).astype(np.int32)
        return predictions


@dataclass(frozen=True, kw_only=True)
class Order:
    """The names of a model's classes in some order."""

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BetterFit:
    """How a model would be right far more often."""

    now: float
    """Share of right predictions as it is told."""
    then: float
    images: int
    sure: bool
    """Whether it cannot be chance."""
    changes: tuple[str, ...]
    """Options that make it so."""
    order: Order | None

    def __str__(self) -> str:
        """The end of a sentence."""
        how = " and ".join([*self.changes, *([f"labels {self.order.name}"] if self.order else [])])
        told = f"as told {self.now:.4f} of {counted(self.images, 'image')} are right; "
        told += f"with {how} it would be"
        told += f" {self.then:.4f}"
        if self.order:
            told += ". Write the labels in that order:"
            told += "".join(f"\n  {label}" for label in cut(self.order.labels))
        return told


class Check:
    """Images of known classes, and what a network made of them."""

    def __init__(self, labels: Sequence[str], actual: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.actual = actual
        self.guess = max(Counter(actual).values()) / len(actual)
        """Share of the most frequent class: what one gets by always naming that."""

    def right(self, trial: Trial, labels: Sequence[str] | None = None) -> Right:
        """Which images (n,) are right, in this order of the labels."""
        right: Right = trial.predictions == self._places(labels or self.labels)
        return right

    def belief(self, trial: Trial) -> NDArray[np.float64]:
        """Logarithms (n,) of the probabilities it gave to what is true."""
        given = trial.probabilities[np.arange(len(self.actual)), self._places(self.labels)]
        return np.log(np.clip(given.astype(np.float64), 1e-7, 1.0))

    def chosen_scaling(self, trials: Sequence[Trial]) -> Trial:
        """The scale that fits best, if that is surely better than the first one, and than guessing.

        In BGR only where RGB surely fits less.
        """
        first, alike = trials[0], self._alike(trials)
        best = max(alike, key=lambda trial: self.belief(trial).mean())
        if best.scaling.bgr:
            rgb = best.scaling.model_copy(update={"bgr": False})
            twins = [trial for trial in alike if trial.scaling == rgb]
            best = next((trial for trial in twins if not self._believes_less(trial, best)), best)
        is_better = first not in alike or (
            self._believes_less(first, best) and self.right(best).sum() >= self.right(first).sum()
        )
        return best if is_better and self._beats_guessing(best) else first

    def chosen_way(self, trials: Sequence[Trial]) -> Trial:
        """The way to its size that fits best; of those that chance may have set apart the first."""
        alike = self._alike(trials)
        best = max(alike, key=lambda trial: self.belief(trial).mean())
        return next(trial for trial in alike if not self._believes_less(trial, best))

    def _alike(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials with the most right ones, chance aside: their belief in the truth may tell."""
        most = max(trials, key=lambda trial: self.right(trial).mean())
        return [trial for trial in trials if self._only_chance(trial, most, len(trials))]

    def _beats_guessing(self, trial: Trial) -> bool:
        """Whether it is no chance that more are right than by always naming one class."""
        error = math.sqrt(self.guess * (1 - self.guess) / len(self.actual))
        return bool(self.right(trial).mean() > self.guess + ERRORS_APART * error)

    def _believes_less(self, trial: Trial, best: Trial) -> bool:
        """Whether a trial is farther from the truth than another, which is no chance."""
        gain = self.belief(best) - self.belief(trial)
        return bool(gain.mean() > ERRORS_APART * gain.std() / math.sqrt(len(gain)))

    def as_good(self, trials: Sequence[Trial], chosen: Trial) -> list[Trial]:
        """Those that have as many right, or so many that the images cannot tell them apart."""
        right = self.right(chosen).sum()
        return [
            trial
            for trial in trials
            if trial is not chosen
            and self._only_chance(trial, chosen, len(trials))
            and (self.right(trial).sum() >= right or not self._believes_less(trial, chosen))
        ]

    def _only_chance(self, trial: Trial, better: Trial, tried: int) -> bool:
        """Whether a trial has as many right as a better one of so many, chance aside."""
        before, after = self.right(trial), self.right(better)
        chance = mcnemar(int((after & ~before).sum()), int((before & ~after).sum()))
        return chance >= LIKELY / max(tried - 1, 1) or before.sum() >= after.sum()

    def _places(self, labels: Sequence[str]) -> NDArray[np.int64]:
        """Where the images' classes (n,) are in this order of the labels."""
        position = Classes(labels)
        return np.array([position[name] for name in self.actual])

    def better_fit(self, trials: Sequence[Trial], told: Trial) -> BetterFit | None:
        """What would make twice as many right, or half as many wrong, if anything does."""
        given = Order(name="as they are", labels=self.labels)
        orders = [given, *other_orders(self.labels)]
        tried = [(trial, order, len(orders) * len(trials)) for trial in trials for order in orders]
        chances = len(trials) * math.factorial(min(len(self.labels), MOST_FACTORIAL))
        found = [(trial, self._order_by_answers(trial)) for trial in trials]
        tried += [(trial, order, chances) for trial, order in found if order]

        def merit(one: tuple[Trial, Order, int]) -> float:
            trial, order, _ = one
            changes = len(changes_between(told, trial)) + (order is not given)
            return float(self.right(trial, order.labels).mean()) - CHANGE * changes

        trial, order, chances = max(tried, key=merit)
        before, after = self.right(told), self.right(trial, order.labels)
        chance = mcnemar(int((after & ~before).sum()), int((before & ~after).sum()))
        if not is_far_better(before, after) or chance >= LIKELY:
            return None
        return BetterFit(
            now=float(before.mean()),
            then=float(after.mean()),
            images=len(after),
            sure=chance < ALPHA / chances,
            changes=changes_between(told, trial),
            order=None if order is given else order,
        )

    def _order_by_answers(self, trial: Trial) -> Order | None:
        """The order in which each output names the class whose images it stands for, if any.

        Every output must win a class of its own.
        """
        matrix = np.zeros((len(self.labels), len(self.labels)), np.int64)
        np.add.at(matrix, (trial.predictions, self._places(self.labels)), 1)
        best = matrix.argmax(axis=1)
        if len(set(best.tolist())) < len(self.labels) or not matrix.any(axis=1).all():
            return None
        return Order(name="in another order", labels=tuple(self.labels[i] for i in best))


def changes_between(told: Trial, other: Trial) -> tuple[str, ...]:
    """The options by which two trials differ."""
    changes = []
    if other.scaling != told.scaling:
        if other.scaling.model_copy(update={"bgr": False}) != told.scaling.model_copy(
            update={"bgr": False}
        ):
            changes.append(f"--scale {other.scaling.name}")
        if other.scaling.bgr != told.scaling.bgr and other.scaling.name != "caffe":
            changes.append(f"--channels {'bgr' if other.scaling.bgr else 'rgb'}")
    for field in ("resize", "shorter_side", "interpolation"):
        value = getattr(other.preprocessing, field)
        if value != getattr(told.preprocessing, field) and value is not None:
            changes.append(f"--{field.replace('_', '-')} {value}")
    return tuple(changes)


def is_far_better(before: Right, after: Right) -> bool:
    """Whether twice as many are right, or half as many wrong."""
    gained = after.sum() > before.sum()
    twice = after.sum() >= FAR_BETTER * before.sum()
    half = (~before).sum() >= FAR_BETTER * (~after).sum()
    return bool(gained and (twice or half))


def other_orders(labels: Sequence[str]) -> Iterator[Order]:
    """Orders that the same names often have."""
    orders = {
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


def cut(labels: Sequence[str]) -> list[str]:
    """The first names, and how many more."""
    more = len(labels) - MOST_NAMED
    return [*labels[:MOST_NAMED], *([f"... and {more:,} more"] if more > 0 else [])]
