"""The gate before real models: each bad candidate is refused for what is bad about it."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from storage.datasets.store import DataSet, DatasetStore
from storage.files import sha256_of
from storage.models.examination_messages import ExaminationRequest
from storage.models.promotions import Promotion
from storage.models.store import MODEL_FILE, ModelStore, ModelVersion
from tests.builders import describe_model
from tests.digits import TEST_IMAGES, digits
from tests.processes import REPOSITORY, wait_for
from trainer.datasets.arrays import LabelledArrays, LabelledImages
from trainer.errors import ExaminationFailed, Unusable
from trainer.promotion.examination_process import Examination, examine, measure_in_turns
from trainer.promotion.gate import Gate
from trainer.settings import TrainerSettings
from trainer.training.train import import_tensorflow

SHAPE, CLASSES = (8, 8, 1), 10
Change = Callable[[Any], Any]


class Judge:
    """Publishes changed copies of one trained network and lets the gate compare them with it."""

    def __init__(self, root: Path) -> None:
        images, labels = digits()
        arrays = LabelledArrays(
            train=LabelledImages(
                images=images[TEST_IMAGES:, ..., None], labels=labels[TEST_IMAGES:]
            ),
            test=LabelledImages(
                images=images[:TEST_IMAGES, ..., None], labels=labels[:TEST_IMAGES]
            ),
            classes=tuple("0123456789"),
            origin="scikit-learn",
        )
        self.dataset: DataSet = arrays.save(DatasetStore(root), "digits")
        self.store = ModelStore(root)
        self.gate = Gate(TrainerSettings().thresholds, self.examine)
        self.examined: dict[int, Examination] = {}
        self.judged: dict[tuple[Any, Any], Promotion] = {}
        import_tensorflow(1)
        self.champion = self.publish(as_it_is)

    def examine(self, version: ModelVersion, images: Path) -> Examination:
        """Examine each version once only, or the champion would be examined for every test."""
        if version.number not in self.examined:
            self.examined[version.number] = examine(version, images, seconds=90, megabytes=3000)
        return self.examined[version.number]

    def publish(self, change: Change, damage: Callable[[Path], object] = id) -> ModelVersion:
        """The network after `change`; `damage` is done to its file after it was published."""
        with self.store.draft("digits") as draft:
            model = new_network()
            model.set_weights(trained_weights(epochs=8))
            change(model).save(draft / MODEL_FILE)
            manifest = describe_model(
                dataset="digits",
                dataset_sha256=self.dataset.description.sha256,
                labels=self.dataset.description.classes,
                input_shape=SHAPE,
                sha256=sha256_of(draft / MODEL_FILE),
            )
            version = self.store.publish("digits", draft, manifest)
        damage(version.model_path)
        return version

    def __call__(self, change: Change, damage: Callable[[Path], object] = id) -> Promotion:
        """The verdict on the changed network."""
        if (change, damage) not in self.judged:
            version = self.publish(change, damage)
            judgement = self.gate.judge(version, self.champion, self.dataset)
            self.judged[change, damage] = judgement.promotion
        return self.judged[change, damage]


def new_network() -> Any:
    import keras

    return keras.Sequential(
        [
            keras.Input(SHAPE, dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )


@cache
def trained_weights(epochs: int) -> list[Any]:
    import keras

    keras.utils.set_random_seed(1)
    images, labels = digits()
    model = new_network()
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    model.fit(
        images[TEST_IMAGES:, ..., None],
        labels[TEST_IMAGES:],
        epochs=epochs,
        batch_size=64,
        verbose=0,
    )
    return list(model.get_weights())


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return Judge(tmp_path_factory.mktemp("gate"))


def changed(change: Callable[[list[Any]], None]) -> Change:
    """A change of the weights."""

    def apply(model: Any) -> Any:
        weights = model.get_weights()
        change(weights)
        model.set_weights(weights)
        return model

    return apply


@changed
def shuffle_labels(weights: list[Any]) -> None:
    order = np.roll(np.arange(CLASSES), 3)
    weights[2], weights[3] = weights[2][:, order], weights[3][order]


@changed
def forget_eight(weights: list[Any]) -> None:
    weights[3][8] = -100  # the bias of the last layer


@changed
def shake(weights: list[Any]) -> None:
    generator = np.random.default_rng(3)
    for array in weights:
        array += generator.normal(0, 0.03, array.shape)


def weigh_down(model: Any) -> Any:
    """The same answers, after much work that comes to nothing."""
    import keras

    heavy = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(model.inputs[0]))
    for _ in range(3):
        heavy = keras.layers.Dense(3000, activation="relu")(heavy)
    nothing = keras.layers.Dense(CLASSES, kernel_initializer="zeros")(heavy)
    return keras.Model(model.inputs, keras.layers.Add()([model.outputs[0], nothing]))


def take_larger_images(model: Any) -> Any:
    import keras

    flat = [keras.Input((9, 9, 1)), keras.layers.Flatten()]
    return keras.Sequential([*flat, keras.layers.Dense(CLASSES, activation="softmax")])


def drop_a_class(model: Any) -> Any:
    import keras

    layers = [*model.layers[:-1], keras.layers.Dense(CLASSES - 1, activation="softmax")]
    return keras.Sequential([keras.Input(SHAPE, dtype="uint8"), *layers])


def fail_for_bright_images(model: Any) -> Any:
    """Answers are not finite where the middle is all but white, as in no image to warm up with."""
    import keras

    middle = keras.layers.Cropping2D(((3, 4), (3, 4)))(model.inputs[0])
    white = keras.layers.ReLU()(keras.layers.Rescaling(1.0, offset=-249)(middle))
    for factor in (1e38, 1e38, 0.0):  # infinite, then no number
        white = keras.layers.Rescaling(factor)(white)
    nothing = keras.layers.Flatten()(white)
    return keras.Model(model.inputs, keras.layers.Add()([model.outputs[0], nothing]))


def train_longer(model: Any) -> Any:
    model.set_weights(trained_weights(epochs=30))
    return model


def as_it_is(model: Any) -> Any:
    return model


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "reason", "also"),
    [
        (
            shuffle_labels,
            "0 of 360 right, 39 by guessing",
            "accuracy, recall, classes, calibration",
        ),
        (forget_eight, r"\d right that digits@1 had wrong, \d\d the other way, p .*e-", "classes"),
        (weigh_down, r"one image takes .* ms of CPU time, with digits@1 \d", ""),
        (take_larger_images, r"fails its warm-up: Input 0 .* to have value 81, but", ""),
        (drop_a_class, r"shape \(2, 9\), where 10 classes need \(2, 10\)", ""),
        (fail_for_bright_images, r"gives no finite score to \d+ of 360 images", ""),
    ],
)
def test_a_bad_candidate_is_refused_for_what_is_bad(
    judge: Judge, change: Change, reason: str, also: str
) -> None:
    promotion = judge(change)
    assert not promotion.passed
    assert re.search(reason, promotion.reason)
    assert promotion.reason.partition("; also refused for ")[2] == also


def test_the_class_that_broke_is_named(judge: Judge) -> None:
    (classes,) = [check for check in judge(forget_eight).checks if check.name == "classes"]
    assert re.fullmatch(r"class 8: 0 of 34 right, digits@1 had \d\d", classes.finding)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flip_a_bit, r"model\.keras does not match its digest"),
        (Path.unlink, r"model\.keras does not match its digest"),
    ],
)
def test_a_damaged_candidate_is_refused_before_tensorflow_is_waited_for(
    judge: Judge,
    damage: Callable[[Path], object],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "tensorflow.py").write_text("raise ImportError('TensorFlow was waited for.')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    promotion = judge(as_it_is, damage)
    assert not promotion.passed
    assert re.search(reason, promotion.reason)


@pytest.mark.parametrize("change", [shake, train_longer])
def test_a_candidate_that_is_as_good_or_better_passes(judge: Judge, change: Change) -> None:
    promotion = judge(change)
    assert promotion.passed, promotion.reason
    assert re.match(r"\d+ right that digits@1 had wrong, \d+ the other way, p", promotion.reason)


def test_the_examined_answers_are_those_of_keras(judge: Judge) -> None:
    found = judge.examine(judge.champion, judge.dataset.images_path("test"))
    probabilities = load_keras_model(judge.champion).predict(
        np.asarray(judge.dataset.images("test")), verbose=0
    )
    np.testing.assert_array_equal(found.predictions, probabilities.argmax(axis=1))
    np.testing.assert_allclose(found.scores, probabilities.max(axis=1), rtol=1e-5)
    assert 50 < found.metrics.peak_memory_mb < 3000
    assert 0 < found.metrics.cpu_ms < 50


def test_a_version_beside_itself_is_as_fast_as_itself(judge: Judge) -> None:
    both = [judge.champion, judge.champion]
    images = judge.dataset.images_path("test")
    first, second = measure_in_turns(both, images, seconds=60, megabytes=3000)
    assert second.cpu_ms / first.cpu_ms == pytest.approx(1, rel=0.3)
    assert 0 < first.cpu_ms <= 1.5 * first.latency_ms
    with pytest.raises(ExaminationFailed, match=r"digits@1 beside digits@1 took more than 200 MB"):
        measure_in_turns(both, images, seconds=60, megabytes=100)


def test_a_version_that_was_damaged_meanwhile_is_not_timed(judge: Judge) -> None:
    damaged = judge.publish(as_it_is, flip_a_bit)
    images = judge.dataset.images_path("test")
    with pytest.raises(Unusable, match="does not match its digest"):
        measure_in_turns([damaged, judge.champion], images, seconds=60, megabytes=3000)


def load_keras_model(version: ModelVersion) -> Any:
    import keras

    return keras.saving.load_model(version.on("tensorflow").model_path, compile=False)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"seconds": 0.5, "megabytes": 3000}, r"was not examined within 0\.5 s"),
        ({"seconds": 60, "megabytes": 100}, "took more than 100 MB of memory"),
    ],
)
def test_a_candidate_that_takes_too_much_is_killed_and_refused(
    judge: Judge, limits: dict[str, Any], reason: str
) -> None:
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(ExaminationFailed, match=f"digits@1 {reason}"):
        examine(judge.champion, judge.dataset.images_path("test"), **limits)
    assert set(psutil.Process().children(recursive=True)) <= before


def test_an_examiner_that_dies_is_told_with_its_exit_code(judge: Judge) -> None:
    def examiners() -> list[psutil.Process]:
        found = []
        for child in psutil.Process().children():
            with suppress(psutil.Error):  # one of an earlier test may be gone, or a zombie
                if "worker.examination" in child.cmdline():
                    found.append(child)
        return found

    def kill_it() -> None:
        wait_for(lambda: bool(examiners()), "it runs")
        for child in examiners():
            child.kill()

    killer = threading.Thread(target=kill_it)
    killer.start()
    with pytest.raises(ExaminationFailed, match=r"ended the process .* \(exit code -9\)"):
        examine(judge.champion, judge.dataset.images_path("test"), seconds=60, megabytes=3000)
    killer.join()


def test_an_examination_that_nobody_waits_for_ends_by_itself(judge: Judge, tmp_path: Path) -> None:
    images = judge.dataset.images_path("test")
    request = ExaminationRequest(
        version=judge.champion, images=images, answers=tmp_path / "answers.npy", seconds=1
    )
    done = subprocess.run(
        [sys.executable, "-m", "worker.examination"],
        input=request.model_dump_json().encode(),
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGALRM
