"""Which contract fits, and is that chance? Answers are made by hand."""

import numpy as np
import pytest

from imaging.preprocessing import AS_KERAS
from imaging.scalings import NAMED, NONE, Scaling
from trainer.importing.fit import Check, Trial

CLASSES = ("ant", "bee", "cat")
ACTUAL = [CLASSES[i % 3] for i in range(300)]
POSITIONS = np.arange(300, dtype=np.int32) % 3


def trial(share: float, scaling: Scaling = NONE, seed: int = 1, shift: int = 0) -> Trial:
    """One that has this share of the images right, and is wrong by one class in the others."""
    right = np.random.default_rng(seed).random(300) < share
    predictions = (POSITIONS + shift + ~right) % 3
    return answering(predictions, scaling)


def answering(predictions: np.ndarray, scaling: Scaling = NONE, score: float = 0.8) -> Trial:
    """A trial that names these classes, always as sure of itself."""
    others = (1 - score) / 2
    probabilities = np.where(np.arange(3) == predictions[:, None], score, others)
    return Trial(scaling=scaling, preprocessing=AS_KERAS, probabilities=probabilities)


def check(labels: tuple[str, ...] = CLASSES) -> Check:
    return Check(labels, ACTUAL)


def test_the_scale_that_fits_is_chosen() -> None:
    trials = [trial(0.35), trial(0.6, NAMED["0..1"]), trial(0.93, NAMED["-1..1"])]
    assert check().chosen_scaling(trials).scaling == NAMED["-1..1"]


def test_what_may_be_chance_changes_nothing() -> None:
    trials = [trial(0.9, seed=1), trial(0.92, NAMED["0..1"], seed=2)]
    assert check().chosen_way(trials) is trials[0]
    assert check().better_fit(trials, trials[0]) is None


def test_of_ways_that_chance_sets_apart_the_surest_of_the_truth_is_chosen() -> None:
    bgr = NAMED["-1..1"].reversed()
    answers = (POSITIONS + (np.arange(300) % 10 == 0)) % 3
    slightly_better = (POSITIONS + (np.arange(300) % 11 == 0)) % 3
    trials = [
        trial(0.4),
        answering(answers, NAMED["-1..1"], score=0.9),
        answering(slightly_better, bgr, score=0.5),
    ]
    chosen = check().chosen_scaling(trials)
    assert chosen.scaling == NAMED["-1..1"]
    assert check().as_good(trials, chosen) == [trials[2]]


def test_bgr_is_chosen_only_where_rgb_surely_fits_less() -> None:
    rgb, bgr = NAMED["-1..1"], NAMED["-1..1"].reversed()
    same = (POSITIONS + (np.arange(300) % 10 == 0)) % 3
    worse = (POSITIONS + (np.arange(300) % 3 == 0)) % 3
    slightly_better = (POSITIONS + (np.arange(300) % 11 == 0)) % 3
    trials = [trial(0.4), answering(same, rgb), answering(slightly_better, bgr)]
    assert check().chosen_scaling(trials).scaling == rgb
    trials = [trial(0.4), answering(worse, rgb), answering(same, bgr)]
    assert check().chosen_scaling(trials).scaling == bgr


def test_a_far_better_scale_is_told_with_its_option() -> None:
    trials = [trial(0.11), trial(0.93, NAMED["-1..1"])]
    better = check().better_fit(trials, trials[0])
    assert better is not None
    assert better.sure
    now, then = (float(check().right(one).mean()) for one in trials)
    assert str(better) == (
        f"as told {now:.4f} of 300 images are right; with --scale -1..1 it would be {then:.4f}"
    )


@pytest.mark.parametrize("order", [("cat", "bee", "ant"), ("bee", "ant", "cat")])
def test_labels_in_an_order_that_would_fit_are_written_out(order: tuple[str, ...]) -> None:
    better = check(order).better_fit([trial(0.95)], trial(0.95))
    assert better is not None
    assert better.sure
    assert str(better).endswith("Write the labels in that order:\n  ant\n  bee\n  cat")


def test_scale_and_order_can_both_be_wrong() -> None:
    labels = CLASSES[::-1]
    told = answering(np.zeros(300, np.int32))
    better = check(labels).better_fit([told, trial(0.95, NAMED["caffe"])], told)
    assert better is not None
    assert better.changes == ("--scale caffe",)
    assert better.order is not None
    assert better.order.labels == CLASSES


def test_few_images_make_nothing_sure() -> None:
    few = Check(CLASSES, ACTUAL[:6])
    told, other = (
        answering(p[:6], s) for s, p in ((NONE, (POSITIONS + 1) % 3), (NAMED["0..1"], POSITIONS))
    )
    better = few.better_fit([told, other], told)
    assert better is not None
    assert not better.sure


def test_an_order_that_nobody_knows_is_found_with_its_scale() -> None:
    labels = ("bee", "ant", "cat")
    none = trial(0.43, seed=1, shift=1)
    trials = [none, trial(0.95, NAMED["-1..1"], seed=2), trial(0.3, NAMED["0..1"], seed=3)]
    few = check(labels)
    assert few.chosen_scaling(trials) is none
    better = few.better_fit(trials, none)
    assert better is not None
    assert better.sure
    assert better.changes == ("--scale -1..1",)
    assert better.order is not None
    assert better.order.labels == CLASSES


def test_a_scale_that_has_fewer_right_is_not_chosen_for_being_less_sure() -> None:
    half = (POSITIONS + np.arange(300) % 2) % 3
    fewer = (POSITIONS + (np.arange(300) % 9 > 3)) % 3
    none, other = answering(half, score=0.99), answering(fewer, NAMED["0..1"], score=0.4)
    assert check().belief(other).mean() > check().belief(none).mean()
    assert check().chosen_scaling([none, other]) is none


def test_a_network_that_always_names_one_class_tells_nothing_of_its_scale() -> None:
    always = np.zeros(300, np.int32)
    none, other = answering(always), answering(always, NAMED["0..1"], score=0.4)
    assert check().belief(other).mean() > check().belief(none).mean()
    assert check().chosen_scaling([none, other]) is none
