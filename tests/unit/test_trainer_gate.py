"""What a training does to the champion: the gate, stale runs, damaged champions.

What the gate does with real models is in tests/integration/test_gate.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.datasets import DataSet
from storage.examinations import Figures
from storage.models import ModelStore, ModelVersion
from storage.promotions import Promotion, read_promotion
from tests.builders import LABELS, add_dataset, as_any, publish
from trainer.errors import ExaminationFailed, UnknownNetwork, UnknownPreset, Unusable
from trainer.examination import Examination
from trainer.exports import older_config
from trainer.gate import Gate
from trainer.networks import NETWORKS, block_filters, get_network, get_recipe
from trainer.pipeline import Pipeline
from trainer.recipes import Recipe
from trainer.settings import TrainerSettings
from trainer.training import TrainingRequest

ACTUAL = np.arange(300) % 3
"""A hundred images of each of three classes."""
FIGURES = Figures(
    load_seconds=1, images_per_second=1000, latency_ms=2, processor_ms=2, peak_memory_mb=500
)


def answers(wrong: Iterable[int] = (), score: float = 0.9, **figures: Any) -> Examination:
    """All right but for the images at these positions, which get the next class."""
    predictions = ACTUAL.astype(np.int32)
    where = list(wrong)
    predictions[where] = (predictions[where] + 1) % 3
    return Examination(
        predictions=predictions,
        scores=np.full(len(ACTUAL), score, np.float32),
        figures=FIGURES.model_copy(update=figures),
    )


class House:
    """A storage with a data set, and models that answer as they are told to."""

    def __init__(self, root: Path) -> None:
        self.models = ModelStore(root)
        self.dataset: DataSet = add_dataset(root, ACTUAL.tolist())
        self.examined: Mapping[int, Examination | ExaminationFailed] = {}
        gate = Gate(TrainerSettings().thresholds, self.examine)
        self.pipeline = Pipeline(as_any(None), self.models, as_any(None), gate)

    def examine(self, version: ModelVersion, images: Path | None) -> Examination:
        assert images == self.dataset.images_path("test")
        found = self.examined[version.number]
        if isinstance(found, ExaminationFailed):
            raise found
        return found

    def publish(
        self, found: Examination | ExaminationFailed | None = None, **fields: Any
    ) -> ModelVersion:
        version = publish(self.models, **fields)
        self.examined = {**self.examined, version.number: found or answers()}
        return version

    def judge(
        self, found: Examination | ExaminationFailed | None = None, **fields: Any
    ) -> Promotion:
        """Let another version try to become champion; the verdict that is kept beside it."""
        version = self.publish(found, **fields)
        verdict = self.pipeline.promote(version, self.dataset)
        promotion = read_promotion(version)
        assert promotion is not None
        assert (verdict.promoted, verdict.reason) == (promotion.passed, promotion.reason)
        champion = self.models.champion("digits")
        assert (champion is not None and champion.number == version.number) is promotion.passed
        return promotion


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_first_version_that_beats_guessing_becomes_champion(house: House) -> None:
    promotion = house.judge(answers(range(150)))
    assert promotion.reason == "the first champion"
    assert promotion.champion is None
    assert promotion.candidate_performance is not None
    assert promotion.candidate_performance.right == 150


def test_a_first_version_that_only_guesses_is_refused(house: House) -> None:
    promotion = house.judge(answers(range(190)))
    assert promotion.reason.startswith("110 of 300 right, 100 by guessing, p 0.1")


def test_a_first_version_that_never_names_a_class_is_refused(house: House) -> None:
    promotion = house.judge(answers([i for i in range(300) if ACTUAL[i] == 1]))
    assert promotion.reason == "class one: 0 of 100 right, the floor is 5%"


def test_equal_and_better_versions_pass_with_the_counts(house: House) -> None:
    house.judge(answers(range(30)))
    assert house.judge(answers(range(30))).reason == (
        "0 right that digits@1 had wrong, 0 the other way, p 1"
    )
    better = house.judge(answers(range(10)))
    assert better.reason == "20 right that digits@2 had wrong, 0 the other way, p 1.9e-06"
    assert better.comparison is not None
    assert (better.comparison.gained, better.comparison.lost) == (20, 0)


def test_a_version_that_is_worse_by_chance_passes(house: House) -> None:
    house.judge(answers(range(20)))
    promotion = house.judge(answers([*range(14), *range(100, 112)]))
    assert promotion.reason == "6 right that digits@1 had wrong, 12 the other way, p 0.24"
    assert promotion.passed


def test_a_version_that_is_worse_and_not_by_chance_is_refused(house: House) -> None:
    house.judge(answers(range(20)))
    promotion = house.judge(answers([*range(14), *range(100, 121)]))
    assert promotion.reason == "6 right that digits@1 had wrong, 21 the other way, p 0.0059"
    assert not promotion.passed
    assert house.models.resolve("digits").number == 1


def test_a_class_that_got_worse_is_refused_though_the_whole_got_better(house: House) -> None:
    zeros, ones = (np.flatnonzero(label == ACTUAL) for label in (0, 1))
    house.judge(answers(zeros[:60]))
    promotion = house.judge(answers(ones[:20]))
    assert promotion.comparison is not None
    assert promotion.comparison.gained > promotion.comparison.lost
    assert promotion.reason == "class one: 80 of 100 right, digits@1 had 100"
    assert house.judge(answers(ones[:3])).passed, "three images may be chance"


def test_scores_that_do_not_tell_the_truth_are_refused(house: House) -> None:
    house.judge(answers(range(30)))
    promotion = house.judge(answers(range(30), score=0.4))
    assert promotion.reason == "scores are off by 0.500, the limit is 0.100"
    house.judge(answers(range(30), score=0.81))


def test_scores_may_be_off_by_as_much_as_the_champions_are(house: House) -> None:
    house.judge(answers(range(30), score=0.4))
    assert house.judge(answers(range(30), score=0.4)).passed


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        (
            {"processor_ms": 20},
            "one image takes 20.00 ms of processor time, with digits@1 2.00 ms, "
            "the limit is 3 times as much",
        ),
        (
            {"peak_memory_mb": 1600},
            "memory 1,600 MB, with digits@1 500 MB, the limit is 3 times as much",
        ),
    ],
)
def test_a_version_that_costs_much_more_is_refused(
    house: House, figures: dict[str, Any], reason: str
) -> None:
    house.judge()
    assert house.judge(answers(**figures)).reason == reason
    assert house.judge(answers(processor_ms=5, peak_memory_mb=1400)).passed


def test_a_version_that_cannot_be_used_is_refused_with_the_reason(house: House) -> None:
    reason = "Model digits@1 is refused: model.keras is no Keras archive."
    promotion = house.judge(ExaminationFailed(reason))
    assert promotion.reason == reason.removesuffix(".")
    assert promotion.candidate_performance is None


def test_a_champion_that_cannot_be_used_is_no_hindrance(house: House) -> None:
    house.judge()
    house.examined = {1: Unusable("Model digits@1 is damaged.")}
    promotion = house.judge(answers(range(100)))
    assert promotion.reason == "digits@1 cannot be used: Model digits@1 is damaged"
    assert promotion.passed


def test_a_champion_that_was_not_examined_in_time_stays(house: House) -> None:
    house.judge()
    house.examined = {1: ExaminationFailed("digits@1 was not examined within 300 s")}
    promotion = house.judge()
    assert promotion.reason == "it cannot be compared: digits@1 was not examined within 300 s"


def test_versions_that_cannot_be_compared_are_refused_with_the_difference(house: House) -> None:
    house.judge()
    shape = house.judge(input_shape=(9, 9, 1))
    assert shape.reason == (
        "digits@2 takes images of 9 x 9 x 1, those of data set digits@1 are 4 x 4 x 1"
    )
    classes = house.judge(labels=("zero", "one", "two", "three"))
    assert classes.reason == (
        "digits@3 has 4 classes and data set digits@1 3, 'three' being only in one of them"
    )
    house.models.promote(house.publish(labels=("zero", "one", "2")))
    assert house.judge().reason.startswith(
        "it cannot be compared: digits@4 has 3 classes and data set digits@1 3, '2'"
    )


def test_labels_in_another_order_are_as_good(house: House) -> None:
    house.judge()
    turned = answers()
    turned.predictions[:] = (turned.predictions + 1) % 3
    promotion = house.judge(turned, labels=(LABELS[2], LABELS[0], LABELS[1]))
    assert promotion.reason == "0 right that digits@1 had wrong, 0 the other way, p 1"


def test_a_verdict_names_what_it_rests_on(house: House) -> None:
    house.judge()
    promotion = house.judge()
    assert promotion.candidate == house.models.version("digits", 2).pin
    assert promotion.champion == house.models.version("digits", 1).pin
    assert promotion.dataset_sha256 == house.dataset.description.sha256
    assert promotion.thresholds == TrainerSettings().thresholds
    assert [check.name for check in promotion.checks] == [
        *("guessing", "recall", "accuracy", "classes", "calibration", "latency", "memory")
    ]


def test_a_stale_run_is_rejected_with_the_reason(house: House) -> None:
    assert house.pipeline.promote(house.publish(), house.dataset, fence=8).promoted
    verdict = house.pipeline.promote(house.publish(), house.dataset, fence=7)
    assert not verdict.promoted
    assert "overtaken run" in verdict.reason
    assert house.models.resolve("digits").number == 1


def test_a_champion_that_changes_meanwhile_has_to_be_beaten_too(house: House) -> None:
    house.judge(answers(range(100)))
    other = house.publish()
    candidate = house.publish(answers(range(50)))

    class Sudden(dict[int, Examination | ExaminationFailed]):
        """The other version becomes champion while the first one is examined."""

        def __getitem__(self, number: int) -> Examination | ExaminationFailed:
            if number == 1:
                house.models.promote(other)
            return super().__getitem__(number)

    house.examined = Sudden(house.examined)
    verdict = house.pipeline.promote(candidate, house.dataset)
    assert verdict.reason.startswith("0 right that digits@2 had wrong, 50 the other way")
    assert house.models.resolve("digits").number == 2


@pytest.mark.parametrize("damaged", ["manifest.json", "../champion.json"])
def test_a_champion_that_cannot_be_read_does_not_stop_a_training_from_being_published(
    house: House, damaged: str
) -> None:
    first = house.publish()
    house.models.promote(first)
    (first.folder / damaged).write_text("{")
    verdict = house.pipeline.promote(house.publish(), house.dataset, fence=7)
    if damaged == "manifest.json":
        assert verdict.promoted
        assert verdict.reason == "digits@1 cannot be read"
        assert house.models.resolve("digits").number == 2
    else:
        assert not verdict.promoted
        assert "choose a champion with `trainer promote digits@N`" in verdict.reason


# Networks and requests


def test_an_unknown_network_names_the_known_ones() -> None:
    with pytest.raises(UnknownNetwork, match="'vgg': choose one of mlp, cnn, resnet"):
        get_network("vgg")


@pytest.mark.parametrize(("network", "preset"), [("mlp", "slow"), ("resnet", "quick")])
def test_an_unknown_preset_names_those_of_the_network(network: str, preset: str) -> None:
    known = ", ".join(NETWORKS[network].presets)
    with pytest.raises(UnknownPreset, match=f"{network} has no preset '{preset}': .* of {known}"):
        get_recipe(network, preset)


def test_the_default_network_is_trained_as_the_demo_promises() -> None:
    recipe = get_recipe("mlp", "default")
    assert recipe == Recipe(epochs=5, batch_size=32, steps_per_execution=50)
    assert (recipe.learning_rate, recipe.falling, recipe.augment) == (0.001, False, False)
    assert recipe.patience is None


def test_every_network_has_a_default_and_only_photographs_are_flipped() -> None:
    assert all("default" in network.presets for network in NETWORKS.values())
    assert [name for name, n in NETWORKS.items() if n.augmentation.flip] == ["resnet"]


def test_a_request_takes_from_the_preset_what_it_does_not_say() -> None:
    plain = TrainingRequest.with_defaults(dataset="mnist", network="cnn", preset="best")
    assert plain.recipe == get_recipe("cnn", "best")
    changed = TrainingRequest.with_defaults(
        dataset="mnist", network="cnn", preset="best", epochs=2, batch_size=7, augment=False
    )
    assert changed.recipe == replace(plain.recipe, epochs=2, batch_size=7, augment=False)


@pytest.mark.parametrize(
    ("shape", "blocks"),
    [
        ((28, 28, 1), [32, 64, 96]),
        ((32, 32, 3), [32, 64, 96]),
        ((8, 8, 1), [32, 64]),
        ((1, 1, 1), [32, 64]),
        ((64, 48, 3), [32, 64, 96, 128]),
        ((224, 224, 3), [32, 64, 96, 128, 128, 128]),
    ],
)
def test_larger_images_get_more_blocks(shape: tuple[int, int, int], blocks: list[int]) -> None:
    assert block_filters(shape) == blocks


def test_a_request_survives_the_queue() -> None:
    request = TrainingRequest.with_defaults(
        dataset="mnist", network="cnn", preset="best", augment=False, seed=7, name="own"
    )
    message = request.to_message("run-1")
    assert (message.run, message.scheduled) == ("run-1", False)
    assert TrainingRequest.from_message(type(message).from_wire(message.model_dump())) == request


def test_a_configuration_is_written_as_keras_2_knows_it() -> None:
    float32 = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}}
    zeros = {"module": "keras.initializers", "class_name": "Zeros", "config": {}}
    newer = {
        "class_name": "Sequential",
        "config": {
            "dtype": float32,
            "layers": [
                {
                    "class_name": "InputLayer",
                    "config": {"batch_shape": [None, 28, 28, 1], "optional": False},
                },
                {
                    "module": "keras.layers",
                    "class_name": "Dense",
                    "config": {
                        "units": 10,
                        "bias_initializer": zeros | {"registered_name": None},
                        "quantization_config": None,
                    },
                },
                {"class_name": "BatchNormalization", "config": {"synchronized": True}},
            ],
        },
    }
    assert older_config(newer) == {
        "class_name": "Sequential",
        "config": {
            "dtype": "float32",
            "layers": [
                {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 28, 28, 1]}},
                {
                    "class_name": "Dense",
                    "config": {
                        "units": 10,
                        "bias_initializer": {"class_name": "Zeros", "config": {}},
                    },
                },
                {"class_name": "BatchNormalization", "config": {"synchronized": True}},
            ],
        },
    }
