"""What a training does to the champion: the gate, stale runs, damaged champions.

What the gate does with real models is in tests/integration/trainer/test_gate.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from storage.datasets.store import DataSet
from storage.models.examination_messages import Timing
from storage.models.metrics import Metrics
from storage.models.promotions import Promotion, read_promotion
from storage.models.store import ModelStore, ModelVersion
from tests.builders import LABELS, add_dataset, as_any, one_hot, publish, runtime_choice
from trainer.errors import ExaminationFailed, UnknownNetwork, UnknownPreset, Unusable
from trainer.export import older_config
from trainer.pipeline import Pipeline
from trainer.promotion.examination_process import Examination
from trainer.promotion.gate import Gate
from trainer.settings import TrainerSettings
from trainer.training.networks import NETWORKS, block_filters, get_network, get_recipe
from trainer.training.recipes import Recipe
from trainer.training.train import TrainingRequest

ACTUAL = np.arange(300) % 3
"""A hundred images of each of three classes."""
FOURTEEN = [f"kind {i}" for i in range(14)]
Indices = NDArray[np.integer]
METRICS = Metrics(
    load_seconds=1, images_per_second=1000, latency_ms=2, cpu_ms=2, peak_memory_mb=500
)


def answers(
    wrong: Iterable[int] = (), score: float = 0.95, actual: Indices = ACTUAL, **metrics: Any
) -> Examination:
    """All right but for the images at these positions, which get the next class."""
    predictions = actual.astype(np.int32)
    where = list(wrong)
    predictions[where] = (predictions[where] + 1) % (actual.max() + 1)
    return Examination(
        probabilities=one_hot(predictions, int(actual.max()) + 1, score),
        metrics=METRICS.model_copy(update=metrics),
    )


class House:
    """A storage with a data set, and models that answer as they are told to."""

    def __init__(
        self,
        root: Path,
        actual: Sequence[int] = ACTUAL.tolist(),
        classes: Sequence[str] = LABELS,
        **settings: Any,
    ) -> None:
        self.models = ModelStore(root)
        self.classes, self.actual = tuple(classes), np.array(actual)
        self.dataset: DataSet = add_dataset(root, actual, classes=classes)
        self.examined: Mapping[int, Examination | ExaminationFailed] = {}
        self.timed = 0
        self.occasions: list[Sequence[float]] = []
        """CPU times of candidate and champion, the next measurement first."""
        gate = Gate(TrainerSettings(**settings).thresholds, self.examine, self.measure)
        self.pipeline = Pipeline(as_any(None), self.models, as_any(None), gate)

    def answers(self, wrong: Iterable[int] = (), score: float = 0.95) -> Examination:
        """Answers to the images of this data set."""
        return answers(wrong, score, self.actual)

    def examine(self, version: ModelVersion, images: Path) -> Examination:
        assert images == self.dataset.images_path("test")
        found = self.examined[version.number]
        if isinstance(found, ExaminationFailed):
            raise found
        return found

    def measure(self, versions: Sequence[ModelVersion], images: Path) -> list[Timing]:
        """The same times as in the examinations, unless some were prepared for this occasion."""
        assert images == self.dataset.images_path("test")
        self.timed += 1
        if self.occasions:
            times = self.occasions.pop(0)
        else:
            found = [self.examined[version.number] for version in versions]
            times = [f.metrics.cpu_ms for f in found if isinstance(f, Examination)]
        return [Timing(latency_ms=time, cpu_ms=time) for time in times]

    def publish(
        self, found: Examination | ExaminationFailed | None = None, **fields: Any
    ) -> ModelVersion:
        version = publish(self.models, **{"labels": self.classes, **fields})
        self.examined = {**self.examined, version.number: found or self.answers()}
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


def finding(promotion: Promotion, name: str) -> str:
    """What one of the checks found."""
    return next(check.finding for check in promotion.checks if check.name == name)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_first_version_that_beats_guessing_becomes_champion(house: House) -> None:
    promotion = house.judge(answers(range(150), score=0.5))
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
    assert promotion.reason == "scores are off by 0.5000, the limit is 0.1000"
    house.judge(answers(range(30), score=0.81))


def test_scores_may_be_off_by_as_much_as_the_champions_are(house: House) -> None:
    house.judge(answers(range(30), score=0.4))
    assert house.judge(answers(range(30), score=0.4)).passed


def test_scores_that_are_off_no_further_than_chance_explains_pass(tmp_path: Path) -> None:
    few = House(tmp_path, [0, 1, 2] * 8)
    few.judge(few.answers(wrong=range(5), score=0.8))
    promotion = few.judge(few.answers(wrong=range(5), score=0.9))
    assert finding(promotion, "calibration") == "scores are off by 0.1083, the limit is 0.1000"
    assert promotion.passed
    assert few.judge(few.answers(wrong=range(5), score=0.99)).reason == (
        "scores are off by 0.1983, the limit is 0.1083"
    ), "as far as those of the champion"


def test_a_first_champion_whose_scores_are_off_is_told_so(house: House) -> None:
    promotion = house.judge(answers(range(30), score=0.4))
    assert promotion.reason == "the first champion; scores are off by 0.5000, the limit is 0.1000"
    assert promotion.passed


# Classes


def test_classes_of_which_nothing_is_recognised_are_named_though_it_may_be_chance(
    tmp_path: Path,
) -> None:
    few = House(tmp_path, [c for c in range(14) for _ in range(22)], FOURTEEN)
    promotion = few.judge(few.answers(wrong=range(2 * 22)))
    assert promotion.reason == (
        "the first champion; class kind 0: 0 of 22 right, class kind 1: 0 of 22 right, "
        "the floor is 5%, but too few images to refuse it for that"
    )
    assert promotion.passed


def test_too_many_classes_of_which_nothing_is_recognised_are_refused(tmp_path: Path) -> None:
    few = House(tmp_path, [c for c in range(14) for _ in range(22)], FOURTEEN)
    promotion = few.judge(few.answers(wrong=range(11 * 22)))
    assert promotion.reason == (
        "class kind 0: 0 of 22 right, class kind 1: 0 of 22 right, class kind 2: 0 of 22 right, "
        "8 more classes, the floor is 5%"
    )


def test_without_a_floor_classes_of_which_nothing_is_recognised_are_named_all_the_same(
    tmp_path: Path,
) -> None:
    few = House(tmp_path, [c for c in range(14) for _ in range(22)], FOURTEEN, gate_recall=0)
    promotion = few.judge(few.answers(wrong=range(22)))
    assert promotion.reason == (
        "the first champion; class kind 0: 0 of 22 right, the floor is 0%, "
        "but too few images to refuse it for that"
    )


def test_a_class_without_test_images_is_named(tmp_path: Path) -> None:
    few = House(tmp_path, [0] * 50 + [1] * 50)
    assert few.judge().reason == "the first champion; no test images of class two"


def test_that_every_class_is_recognised_is_said_only_when_it_is(house: House) -> None:
    everything = house.judge(answers(range(0, 300, 7)))
    assert finding(everything, "recall") == "every class is recognised well enough"
    ones = np.flatnonzero(ACTUAL == 1)
    one_left = house.judge(answers(ones[:99]))
    assert finding(one_left, "recall") == (
        "class one: 1 of 100 right, the floor is 5%, but too few images to refuse it for that"
    )


def test_of_many_classes_one_may_do_badly_by_chance(house: House) -> None:
    """Of 100 images at 5 %, one or none is right in 3.7 % of the cases, none in 0.6 %."""
    ones = np.flatnonzero(ACTUAL == 1)
    assert house.judge(answers(ones[:99])).passed
    assert not house.judge(answers(ones)).passed


def test_of_many_classes_one_may_become_worse_by_chance(house: House) -> None:
    """Six lost and none gained are chance in 3.1 % of the cases, eight in 0.8 %."""
    house.judge()
    ones = np.flatnonzero(ACTUAL == 1)
    others = np.flatnonzero(ACTUAL != 1)
    house.models.promote(house.publish(answers(others[:20])))
    six = house.judge(answers(ones[:6]))
    assert finding(six, "classes") == (
        "class one: 94 of 100 right, digits@2 had 100, which may be chance"
    )
    assert six.passed
    house.models.promote(house.models.version("digits", 2))
    assert house.judge(answers(ones[:8])).reason == "class one: 92 of 100 right, digits@2 had 100"


@pytest.mark.parametrize(("right", "passes"), [(35, False), (43, False), (44, True)])
def test_hardly_better_than_guessing_is_not_enough(
    tmp_path: Path, right: int, passes: bool
) -> None:
    few = House(tmp_path, [i % 14 for i in range(308)], FOURTEEN)
    promotion = few.judge(few.answers(wrong=range(right, 308)))
    assert promotion.passed is passes
    if not passes:
        assert promotion.reason.startswith(f"{right} of 308 right, 22 by guessing, p ")
        assert promotion.reason.endswith(", at least 44 are asked")


# Costs


def test_a_version_that_is_slower_and_no_better_is_refused(house: House) -> None:
    house.judge()
    assert house.judge(answers(cpu_ms=20)).reason == (
        "slower, 10.0 x: one image takes 20.00 ms of CPU time, with digits@1 2.00 ms, "
        "the limit is 3 times as much, 50 ms for a better version"
    )
    assert house.judge(answers(cpu_ms=6)).passed


def test_a_version_that_is_slower_but_better_and_still_fast_passes_and_is_told_so(
    house: House,
) -> None:
    house.judge(answers(range(30), cpu_ms=0.43))
    promotion = house.judge(answers(cpu_ms=2))
    assert promotion.passed
    assert promotion.reason == (
        "30 right that digits@1 had wrong, 0 the other way, p 1.9e-09; "
        "slower, 4.7 x: one image takes 2.00 ms of CPU time, with digits@1 0.43 ms"
    )
    assert [check.name for check in promotion.checks if check.notable] == ["latency"]


def test_a_version_that_is_better_by_chance_only_may_not_be_slower(house: House) -> None:
    house.judge(answers(range(5), cpu_ms=0.43))
    assert house.judge(answers(cpu_ms=2)).reason.startswith("slower, 4.7 x")


def test_a_version_that_is_slower_and_worse_is_refused_for_both(house: House) -> None:
    house.judge(answers(cpu_ms=0.43))
    assert house.judge(answers(range(30), cpu_ms=2)).reason.endswith(
        "; also refused for classes, latency"
    )


def test_a_better_version_that_is_no_longer_fast_is_refused(house: House) -> None:
    house.judge(answers(range(30)))
    assert not house.judge(answers(cpu_ms=51)).passed
    assert house.judge(answers(cpu_ms=50)).passed


@pytest.mark.parametrize(("milliseconds", "passes"), [(1.15, True), (1.25, False)])
def test_a_difference_that_nobody_notices_is_none(
    house: House, milliseconds: float, passes: bool
) -> None:
    house.judge(answers(cpu_ms=0.2))
    assert house.judge(answers(cpu_ms=milliseconds)).passed is passes


@pytest.mark.parametrize(("milliseconds", "passes"), [(5, True), (5.1, False)])
def test_a_limit_in_milliseconds_takes_the_place_of_the_comparison(
    tmp_path: Path, milliseconds: float, passes: bool
) -> None:
    house = House(tmp_path, gate_latency_ms=5)
    house.judge(answers(cpu_ms=0.2))
    promotion = house.judge(answers(cpu_ms=milliseconds))
    assert promotion.passed is passes
    if passes:
        assert promotion.reason.endswith(
            "; slower, 25.0 x: one image takes 5.00 ms of CPU time, with digits@1 0.20 ms"
        )
    else:
        assert promotion.reason.endswith(" 0.20 ms, the limit is 5 ms")


def test_a_limit_in_milliseconds_is_that_of_a_first_version_as_well(tmp_path: Path) -> None:
    house = House(tmp_path, gate_latency_ms=5)
    assert house.judge(answers(cpu_ms=6)).reason == (
        "one image takes 6.00 ms of CPU time, the limit is 5 ms"
    )
    house.occasions = [(6,), (4,)]
    assert house.judge(answers(cpu_ms=6)).passed, "the machine was busy"


def test_times_are_those_of_both_in_turns_and_not_of_their_examinations(house: House) -> None:
    house.judge()
    house.occasions = [(2, 1)]
    promotion = house.judge(answers(cpu_ms=20))
    assert promotion.candidate_performance and promotion.champion_performance
    assert promotion.candidate_performance.metrics.cpu_ms == 2
    assert promotion.candidate_performance.metrics.peak_memory_mb == 500
    assert promotion.champion_performance.metrics.cpu_ms == 1


def test_a_version_is_timed_again_before_it_is_refused(house: House) -> None:
    house.judge()
    assert house.timed == 0
    house.occasions = [(20, 2), (2, 2)]
    assert house.judge().passed, "the machine was busy"
    assert house.timed == 2
    house.occasions = [(20, 2), (20, 2), (2, 2)]
    assert not house.judge().passed
    house.occasions = [(2, 2), (20, 2)]
    assert house.judge().passed
    assert house.timed == 5


def test_a_version_that_cannot_be_timed_is_refused_with_the_reason(house: House) -> None:
    house.judge()

    def measure(versions: object, images: object) -> list[Timing]:
        raise ExaminationFailed("digits@2 beside digits@1 was not examined within 600 s")

    house.pipeline.gate.measure = measure
    reason = house.judge().reason
    assert reason == "digits@2 beside digits@1 was not examined within 600 s"


def test_a_version_may_take_three_times_the_memory(house: House) -> None:
    house.judge()
    assert house.judge(answers(peak_memory_mb=1501)).reason == (
        "memory 1,501 MB, with digits@1 500 MB, the limit is 3 times as much"
    )
    assert house.judge(answers(peak_memory_mb=1500)).passed


def test_a_version_that_cannot_be_used_is_refused_with_the_reason(house: House) -> None:
    reason = "Model digits@1 is refused: model.keras is no Keras archive."
    promotion = house.judge(ExaminationFailed(reason))
    assert promotion.reason == "model digits@1 is refused: model.keras is no Keras archive"
    assert promotion.candidate_performance is None


def test_a_champion_that_cannot_be_used_is_no_hindrance(house: House) -> None:
    house.judge()
    house.examined = {1: Unusable("Model digits@1 is damaged.")}
    promotion = house.judge(answers(range(20)))
    assert promotion.reason == "digits@1 cannot be used: model digits@1 is damaged"
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
    found = answers()
    turned = replace(found, probabilities=np.roll(found.probabilities, 1, axis=1))
    promotion = house.judge(turned, labels=(LABELS[2], LABELS[0], LABELS[1]))
    assert promotion.reason == "0 right that digits@1 had wrong, 0 the other way, p 1"


def test_a_verdict_names_what_it_rests_on(house: House) -> None:
    house.judge()
    promotion = house.judge()
    assert promotion.candidate == house.models.version("digits", 2).pin
    assert promotion.champion == house.models.version("digits", 1).pin
    assert promotion.dataset_sha256 == house.dataset.description.sha256
    assert promotion.runtime is None, "nobody has measured it"
    assert promotion.thresholds == TrainerSettings().thresholds
    assert [check.name for check in promotion.checks] == [
        *("guessing", "accuracy", "recall", "classes", "calibration", "latency", "memory")
    ]


def test_a_verdict_names_the_runtime_and_one_with_tensorflow_alone_may_take_its_memory(
    house: House,
) -> None:
    house.judge(answers(peak_memory_mb=100), runtime=runtime_choice(100, "onnx"), format="onnx")
    choice = runtime_choice(100)
    promotion = house.judge(answers(peak_memory_mb=900), runtime=choice)
    assert (promotion.passed, promotion.runtime) == (True, choice)
    assert promotion.checks[-1].finding == (
        "memory 900 MB, with digits@1 100 MB, the limit is 3 times as much, or 1,000 MB"
    )
    assert not house.judge(answers(peak_memory_mb=2_800)).passed


def test_a_stale_run_is_rejected_with_the_reason(house: House) -> None:
    assert house.pipeline.promote(house.publish(), house.dataset, fencing_token=8).promoted
    verdict = house.pipeline.promote(house.publish(), house.dataset, fencing_token=7)
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
    verdict = house.pipeline.promote(house.publish(), house.dataset, fencing_token=7)
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
    flipped = [name for name, network in NETWORKS.items() if network.augmentation.flip]
    assert flipped == ["resnet", "mobilenet", "efficientnet"]


def test_few_images_are_seen_often_and_many_as_the_preset_says() -> None:
    few, many = (
        TrainingRequest.with_defaults(dataset="pets", network="resnet", images=count).recipe
        for count in (300, 50_000)
    )
    assert many == get_recipe("resnet", "default")
    assert (few.batch_size, few.epochs, few.patience) == (16, 120, 36)
    told = TrainingRequest.with_defaults(
        dataset="pets", network="resnet", images=300, epochs=2, batch_size=64
    ).recipe
    assert (told.batch_size, told.epochs, told.patience) == (64, 2, 6)


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
