"""What the head of a report warns of, and that it is silent only where all is well."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.baseline import Baseline
from evaluation.ranking import FAILED
from producer.report.statistics.job_statistics import analyse
from producer.report.warnings import warn
from producer.report.writing import find_manifest
from producer.results.summary import summarise
from storage.jobs.corrections import add_corrections
from storage.jobs.inputs import UNLABELLED
from storage.jobs.results import BatchResult
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.settings import StorageSettings
from tests.builders import encode, file_job, image_file, images_of, publish, ranking_of

FOURTEEN = tuple(f"kind {i}" for i in range(14))
UNTESTED: dict[str, Any] = {"metrics": {}}


class House:
    """A storage with a model whose answers are given."""

    def __init__(self, root: Path) -> None:
        self.store, self.models = JobStore(root), ModelStore(root)

    def warnings(
        self,
        predicted: Sequence[int] | NDArray[np.integer],
        actual: Sequence[int] | NDArray[np.integer] | None = None,
        *,
        score: float | NDArray[np.floating] = 0.95,
        errors: Mapping[int, str] | None = None,
        later: Mapping[int, int] | None = None,
        **manifest: Any,
    ) -> dict[str, str]:
        """The warnings of a job with these predictions and labels: sentences by heading."""
        predictions = np.array(predicted, np.int32)
        predictions[list(errors or {})] = FAILED
        count = len(predictions)
        version = publish(self.models, **{"labels": FOURTEEN, **UNTESTED, **manifest})
        content = encode(images_of([7])[0])
        labels = [UNLABELLED] * count if actual is None else actual
        files = [image_file(content, i, label=int(label)) for i, label in enumerate(labels)]
        job = file_job(self.store, files, model=version.pin, labels=FOURTEEN, batch_size=count)
        result = BatchResult(
            model=version.pin,
            ranking=ranking_of(predictions, np.broadcast_to(score, count)),
            errors=dict(errors or {}),
        )
        self.store.of(job).results.write(0, result)
        if later:
            positions, given = np.array(list(later)), np.array(list(later.values()), np.int32)
            add_corrections(self.store.of(job), positions, given)
        found = find_manifest(self.models, job)
        statistics = analyse(self.store.of(job), found, StorageSettings())
        summary = summarise(self.store.of(job), statistics.tally)
        return dict(warn(job, summary, statistics, found))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def mostly_right(actual: NDArray[np.integer], every: int = 20) -> NDArray[np.integer]:
    """Predictions of which one in so many is wrong, of every class alike."""
    wrong = np.arange(len(actual)) % every == 0
    return np.asarray((actual + wrong) % len(FOURTEEN))


def test_all_is_well(house: House) -> None:
    actual = np.arange(600) % 14
    assert house.warnings(mostly_right(actual), actual) == {}


def test_classes_of_which_nothing_is_recognised_are_named(house: House) -> None:
    actual = np.repeat(np.arange(14), 22)
    found = house.warnings(np.minimum(actual, 2), actual, score=0.2)
    assert found == {
        "Classes are not recognised.": "kind 3, 0 of 22; kind 4, 0 of 22; kind 5, 0 of 22; "
        "kind 6, 0 of 22; kind 7, 0 of 22; and 6 more."
    }


def test_a_single_class_that_is_never_recognised_is_named_among_many_rare_ones(
    house: House,
) -> None:
    rare = np.repeat(np.arange(1, 14), 2)
    actual = np.concatenate([np.zeros(40, np.int64), rare, rare])
    predicted = np.concatenate([np.ones(40, np.int64), rare, rare])
    found = house.warnings(predicted, actual)
    assert found["A class is not recognised."] == "kind 0, 0 of 40."


def test_rare_classes_that_were_missed_are_no_matter(house: House) -> None:
    actual = np.concatenate([np.arange(300) % 10, [10, 11, 12, 13]])
    predicted = mostly_right(actual)
    predicted[-4:] = 0
    assert "not recognised" not in "".join(house.warnings(predicted, actual))


def test_many_rare_classes_of_which_nothing_is_recognised_are_told(house: House) -> None:
    actual = np.repeat(np.arange(14), 3)
    found = house.warnings(np.zeros(42, np.int64), actual, score=0.1)
    assert found["Classes are not recognised."].endswith("and 8 more.")


@pytest.mark.parametrize(("score", "promised"), [(0.98, "98.00"), (0.3, "30.00")])
def test_scores_that_do_not_tell_how_often_the_model_is_right(
    house: House, score: float, promised: str
) -> None:
    actual = np.arange(600) % 14
    found = house.warnings(mostly_right(actual, every=2), actual, score=score)
    said = found["The scores do not tell how often the model is right."]
    assert said.startswith(f"They promise {promised}\N{NO-BREAK SPACE}% right answers, 50.00")
    assert said.endswith(f"the expected calibration error is {abs(score - 0.5):.4f}.")


def test_scores_that_may_be_off_by_chance_are_not_told(house: House) -> None:
    actual = np.arange(12)
    found = house.warnings(mostly_right(actual, every=4), actual)
    assert "The scores do not tell how often the model is right." not in found


@pytest.mark.parametrize(
    ("failed", "heading", "sentence"),
    [
        (1, "Some images failed.", "1 of 600 has an error record instead of a prediction."),
        (60, "Some images failed.", "60 of 600 have an error record instead of a prediction."),
        (61, "Many images failed.", "61 of 600 have an error record instead of a prediction."),
    ],
)
def test_images_that_failed_are_always_told(
    house: House, failed: int, heading: str, sentence: str
) -> None:
    actual = np.arange(600) % 14
    errors = dict.fromkeys(range(1, failed + 1), "damaged image")
    assert house.warnings(mostly_right(actual), actual, errors=errors) == {heading: sentence}


def test_over_three_images_nothing_can_be_said(house: House) -> None:
    found = house.warnings([0, 1, 2], [0, 1, 2])
    assert found == {
        "Few images have a label.": "Over 3 the accuracy may be anything from "
        "43.85\N{NO-BREAK SPACE}% to 100.00\N{NO-BREAK SPACE}%."
    }


def test_three_images_without_a_label_cannot_be_compared_either(house: House) -> None:
    images = images_of(range(200))
    probabilities = np.eye(14)[np.arange(200) % 14]
    baseline = Baseline.of(probabilities, images)
    assert house.warnings([0, 1, 2], baseline=baseline) == {
        "Nothing tells whether the answers are right.": "No image has a label, and so few images "
        "may differ in everything from those of the model's test."
    }


def test_images_that_people_chose_to_label_are_no_sample_to_warn_from(house: House) -> None:
    wrong = {i: (i + 1) % 14 for i in range(25)}
    assert house.warnings(np.arange(100) % 14, later=wrong) == {
        "Nothing tells whether the answers are right.": "The 25 labelled images are no sample of "
        "the others, and the model has no baseline to compare with."
    }


def test_images_that_were_all_labelled_later_are_warned_from(house: House) -> None:
    wrong = {i: (i + 1) % 14 for i in range(100)}
    found = house.warnings(np.arange(100) % 14, later=wrong)
    assert "Classes are not recognised." in found
    assert "The answers are no better than guessing." in found


def test_without_labels_and_a_baseline_nothing_is_known(house: House) -> None:
    assert house.warnings(np.arange(600) % 14) == {
        "Nothing tells whether the answers are right.": "No image has a label, and the model has "
        "no baseline to compare with."
    }


def test_answers_that_are_no_better_than_guessing_are_told(house: House) -> None:
    actual = np.arange(616) % 14
    predicted = np.where(np.arange(616) < 44, actual, (actual + 1) % 14)
    found = house.warnings(predicted, actual, score=0.08)
    assert found["The answers are no better than guessing."] == (
        "7.14\N{NO-BREAK SPACE}% are right; always 'kind 0' would be 7.14\N{NO-BREAK SPACE}%."
    )


def test_a_folder_of_one_class_only_is_not_compared_with_guessing(house: House) -> None:
    predicted = np.where(np.arange(600) % 20 == 0, 1, 0)
    assert house.warnings(predicted, np.zeros(600, np.int64)) == {}
