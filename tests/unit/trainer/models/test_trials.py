"""Would another scale, or another order of the labels, fit far better?"""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from storage.datasets.store import DataSet
from storage.models.examination_messages import Metrics
from tests.builders import add_dataset
from trainer.models.trials import find_better_fit
from trainer.promotion.examination_process import Examination

CLASSES = ("1", "2", "10", "a", "B")
ACTUAL = np.arange(200) % len(CLASSES)
METRICS = Metrics(
    load_seconds=1, images_per_second=1000, latency_ms=2, cpu_ms=2, peak_memory_mb=500
)


@pytest.fixture
def dataset(tmp_path: Path) -> DataSet:
    return add_dataset(tmp_path, ACTUAL.tolist(), classes=CLASSES)


def answers(share: float, seed: int = 1) -> NDArray[np.int32]:
    """Outputs of which a share is right, the others at random, when labels are the classes."""
    random = np.random.default_rng(seed)
    wrong = random.integers(0, len(CLASSES), len(ACTUAL))
    return np.where(random.random(len(ACTUAL)) < share, ACTUAL, wrong).astype(np.int32)


def found(now: NDArray[np.int32], *trials: NDArray[np.int32]) -> Examination:
    return Examination(
        predictions=now,
        scores=np.ones(len(now), np.float32),
        metrics=METRICS,
        rows=np.arange(len(now)),
        trials=np.array(trials, np.int32).reshape(len(trials), len(now)),
    )


def test_the_scale_that_fits_is_found(dataset: DataSet) -> None:
    better = find_better_fit(CLASSES, dataset, found(answers(0.0), answers(0.4), answers(0.9, 2)))
    assert better
    assert better.sure
    assert better.order is None
    told = better.tell(Path("m.keras"), (8, 8, 1))
    assert "with pixels scaled to -1..1 it would be 0.9" in told
    assert "keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)" in told


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_model_that_is_right_as_it_is_is_left_alone(
    dataset: DataSet, share: float, seed: int
) -> None:
    others = [answers(share * 0.9, seed + 10 + i) for i in range(2)]
    assert find_better_fit(CLASSES, dataset, found(answers(share, seed), *others)) is None


@pytest.mark.parametrize("seed", range(20))
def test_a_model_that_only_guesses_gets_no_advice_for_sure(dataset: DataSet, seed: int) -> None:
    guesses = [answers(0.0, 100 * seed + i) for i in range(3)]
    better = find_better_fit(CLASSES, dataset, found(*guesses))
    assert better is None or not better.sure


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (("a", "1", "B", "2", "10"), "in the order of data set digits@1"),
        (CLASSES[::-1], "in the order of data set digits@1"),
    ],
)
def test_the_order_of_the_data_set_is_found(
    dataset: DataSet, labels: tuple[str, ...], name: str
) -> None:
    better = find_better_fit(labels, dataset, found(answers(0.95)))
    assert better
    assert better.sure
    assert better.order
    assert (better.order.name, better.order.labels) == (name, CLASSES)


@pytest.mark.parametrize(
    ("order", "name"),
    [
        (sorted(CLASSES), "sorted by name"),
        (["1", "2", "10", "B", "a"], "sorted by name, numbers by value"),
        (["1", "10", "2", "a", "B"], "sorted by name, capitals or not"),
        (["10", "a", "1", "B", "2"], "in another order"),
    ],
)
def test_other_orders_are_found_too(dataset: DataSet, order: list[str], name: str) -> None:
    output = {CLASSES.index(label): i for i, label in enumerate(order)}
    predictions = np.array([output[int(c)] for c in answers(0.95)], np.int32)
    better = find_better_fit(["2", "B", "10", "1", "a"], dataset, found(predictions))
    assert better
    assert better.sure
    assert better.order
    assert (better.order.name, list(better.order.labels)) == (name, order)


def test_scale_and_order_together_are_found(dataset: DataSet) -> None:
    better = find_better_fit(CLASSES[::-1], dataset, found(answers(0.0), answers(0.95)))
    assert better
    assert better.order
    told = better.tell(Path("m.keras"), (8, 8, 1))
    assert "with pixels scaled to 0..1 and with labels in the order of data set digits@1" in told
    assert "\n  1\n  2\n  10\n  a\n  B\n" in told


def test_what_few_images_suggest_is_not_sure(tmp_path: Path) -> None:
    actual = np.array([0, 1, 2, 3, 4, 0, 1])
    small = add_dataset(tmp_path, actual.tolist(), classes=CLASSES)
    wrong, right = np.full(7, 3, np.int32), actual.astype(np.int32)
    better = find_better_fit(CLASSES, small, found(wrong, right))
    assert better
    assert not better.sure


def test_a_scale_that_makes_no_difference_is_not_advised(dataset: DataSet) -> None:
    now = answers(0.95)
    slightly_better = now.copy()
    wrong = np.flatnonzero(now != ACTUAL)[:2]
    slightly_better[wrong] = ACTUAL[wrong]
    better = find_better_fit(CLASSES[::-1], dataset, found(now, slightly_better))
    assert better
    assert better.order
    assert better.scaling is None


def test_what_is_better_but_not_far_better_is_not_advised(dataset: DataSet) -> None:
    now = answers(0.5)
    better = now.copy()
    wrong = np.flatnonzero(now != ACTUAL)
    some = wrong[: len(wrong) // 3]
    better[some] = ACTUAL[some]
    assert len(some) > 20  # far from chance
    assert find_better_fit(CLASSES, dataset, found(now, better)) is None


def test_what_may_well_be_chance_is_not_mentioned(tmp_path: Path) -> None:
    actual = np.array([0, 1, 2, 3, 4, 0, 1])
    small = add_dataset(tmp_path, actual.tolist(), classes=CLASSES)
    now, then = actual.astype(np.int32), actual.astype(np.int32)
    now[[0, 2, 4]] = 1
    assert find_better_fit(CLASSES, small, found(now, then)) is None
