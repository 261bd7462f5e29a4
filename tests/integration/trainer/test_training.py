"""Training with the real TensorFlow on scikit-learn's digits."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.confusion import Evaluation
from storage.datasets.store import DataSet, DatasetStore
from storage.files import sha256_of
from storage.models.store import MODEL_FILE, Manifest, ModelStore, ModelVersion
from tests.digits import TEST_IMAGES, digits
from tests.processes import start
from trainer.datasets.arrays import LabelledArrays, LabelledImages
from trainer.errors import TrainingFailed
from trainer.export import export
from trainer.training.augmentation import Augmentation
from trainer.training.backbones import BACKBONES
from trainer.training.networks import NETWORKS, get_network, get_recipe
from trainer.training.progress import EpochReport, EpochStep
from trainer.training.recipes import Recipe
from trainer.training.train import TrainingRequest, batches, fit, train

REQUEST = TrainingRequest(
    dataset="digits", network="mlp", name="digits", epochs=3, batch_size=32, seed=1
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    images, labels = digits()
    arrays = LabelledArrays(
        train=LabelledImages(images=images[TEST_IMAGES:, ..., None], labels=labels[TEST_IMAGES:]),
        test=LabelledImages(images=images[:TEST_IMAGES, ..., None], labels=labels[:TEST_IMAGES]),
        classes=tuple("0123456789"),
        origin="scikit-learn",
    )
    return arrays.save(DatasetStore(tmp_path_factory.mktemp("storage")), "digits")


def train_into(folder: Path, request: TrainingRequest, dataset: DataSet) -> Manifest:
    folder.mkdir(exist_ok=True)
    return train(request, dataset, folder)


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, dataset: DataSet
) -> tuple[ModelVersion, list[EpochReport]]:
    """One published training, and what it reported."""
    store = ModelStore(tmp_path_factory.mktemp("models"))
    reports: list[EpochReport] = []
    with store.draft("digits") as draft:
        manifest = train(REQUEST, dataset, draft, reports.append, fencing_token=5)
        version = store.publish("digits", draft, manifest)
    return version, reports


def keras_predictions(model: Any, dataset: DataSet) -> np.ndarray:
    return np.asarray(model.predict(np.asarray(dataset.images("test")), verbose=0))


# The networks


def test_the_default_network_is_exactly_this() -> None:
    model = get_network("mlp").build((28, 28, 1), 10)
    get_recipe("mlp", "default").compile(model, 1688)
    assert [type(layer).__name__ for layer in model.layers] == [
        "Rescaling",
        "Flatten",
        "Dense",
        "Dropout",
        "Dense",
    ]
    rescaling, _, hidden, dropout, out = model.layers
    assert rescaling.scale == pytest.approx(1 / 255)
    assert (hidden.units, hidden.activation.__name__) == (128, "relu")
    assert dropout.rate == 0.2
    assert (out.units, out.activation.__name__) == (10, "softmax")
    assert type(model.optimizer).__name__ == "Adam"
    assert float(model.optimizer.learning_rate) == pytest.approx(0.001)
    assert model.loss == "sparse_categorical_crossentropy"


@pytest.mark.parametrize("preset", ["default", "best"])
@pytest.mark.parametrize("network", sorted(NETWORKS.keys() - BACKBONES.keys()))
@pytest.mark.parametrize(
    ("shape", "classes"), [((28, 28, 1), 10), ((1, 5, 3), 2), ((96, 64, 3), 200), ((7, 7, 4), 3)]
)
def test_every_network_takes_any_shape_and_number_of_classes(
    network: str, preset: str, shape: tuple[int, int, int], classes: int
) -> None:
    model = get_network(network).build_for(preset, shape, classes)
    probabilities = np.asarray(model.predict_on_batch(np.full((2, *shape), 255, np.uint8)))
    assert probabilities.shape == (2, classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert model.count_params() < {"mlp": 10_000_000, "cnn": 3_000_000, "resnet": 500_000}[network]


# A training


def test_the_manifest_says_what_the_model_is(
    trained: tuple[ModelVersion, list[EpochReport]], dataset: DataSet
) -> None:
    manifest = trained[0].manifest
    assert manifest.sha256 == sha256_of(trained[0].on("tensorflow").model_path)
    assert manifest.dataset_sha256 == dataset.description.sha256
    assert (manifest.network, manifest.seed, manifest.epochs, manifest.fencing_token) == (
        "mlp",
        1,
        3,
        5,
    )
    assert manifest.labels == tuple("0123456789")
    assert manifest.input_shape == (8, 8, 1)
    assert set(manifest.versions) == {"python", "numpy", "keras", "tensorflow"}
    assert manifest.metrics["parameters"] == 64 * 128 + 128 + 128 * 10 + 10
    assert manifest.metrics["seconds"] > 0
    on_disk = json.loads((trained[0].folder / "manifest.json").read_text())
    assert [row["label"] for row in on_disk["per_class"]] == list("0123456789")


def test_the_figures_are_those_of_the_published_file(
    trained: tuple[ModelVersion, list[EpochReport]], dataset: DataSet
) -> None:
    import keras

    model = keras.saving.load_model(trained[0].on("tensorflow").model_path)
    probabilities = keras_predictions(model, dataset)
    actual = np.asarray(dataset.labels("test"))
    manifest = trained[0].manifest
    expected = Evaluation.of(manifest.labels, actual, probabilities.argmax(axis=1))
    assert manifest.evaluation == expected
    assert manifest.accuracy == expected.accuracy
    loss, accuracy = model.evaluate(np.asarray(dataset.images("test")), actual, verbose=0)
    assert manifest.metrics["loss"] == pytest.approx(loss, rel=1e-4)
    assert manifest.accuracy == pytest.approx(accuracy)
    assert manifest.metrics["accuracy"] > 0.75


def test_the_baseline_is_of_all_test_images(
    trained: tuple[ModelVersion, list[EpochReport]], dataset: DataSet
) -> None:
    manifest = trained[0].manifest
    assert manifest.baseline is not None
    assert manifest.baseline.classes == tuple(manifest.evaluation.matrix.sum(axis=0).tolist())
    images = dataset.split("test").count
    for histogram in (manifest.baseline.scores, *manifest.baseline.pixels.values()):
        assert sum(histogram.counts) == images


def test_every_epoch_is_reported(trained: tuple[ModelVersion, list[EpochReport]]) -> None:
    reports = trained[1]
    assert [(report.epoch, report.epochs) for report in reports] == [(1, 3), (2, 3), (3, 3)]
    assert reports[-1].loss < reports[0].loss
    assert reports[-1].val_accuracy > 0.7
    assert trained[0].manifest.metrics["val_accuracy"] == reports[-1].val_accuracy


def test_each_batch_tells_how_far_its_epoch_is(tmp_path: Path, dataset: DataSet) -> None:
    steps: list[EpochStep] = []
    train(replace(REQUEST, epochs=2), dataset, tmp_path, on_step=steps.append)
    total = steps[0].total
    assert total < dataset.split("train").count
    assert [(step.epoch, step.done) for step in steps] == [
        (epoch, done) for epoch in (1, 2) for done in range(0, total, REQUEST.batch_size)
    ]
    assert {(step.epochs, step.total) for step in steps} == {(2, total)}


def test_all_pictures_lie_beside_the_model(
    trained: tuple[ModelVersion, list[EpochReport]],
) -> None:
    names = {path.name for path in trained[0].folder.iterdir()}
    pictures = {"samples.png", "curves.png", "confusion.png", "predictions.png"}
    assert names == pictures | {MODEL_FILE, "manifest.json"}
    for name in pictures:
        assert (trained[0].folder / name).read_bytes().startswith(b"\x89PNG")


def test_validation_is_measured_on_the_held_back_tenth_after_each_epoch(
    tmp_path: Path, dataset: DataSet
) -> None:
    import keras

    reports: list[EpochReport] = []
    tmp_path.mkdir(exist_ok=True)
    train(REQUEST, dataset, tmp_path, reports.append)
    count = dataset.split("train").count
    order = np.random.default_rng(REQUEST.seed).permutation(count)
    held_back = order[-round(count / 10) :]
    model = keras.saving.load_model(tmp_path / MODEL_FILE)
    loss, accuracy = model.evaluate(
        dataset.images("train")[held_back], dataset.labels("train")[held_back], verbose=0
    )
    assert reports[-1].val_accuracy == pytest.approx(accuracy, abs=1e-6)
    assert reports[-1].val_loss == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_the_same_seed_gives_the_same_model_and_another_seed_another(
    tmp_path: Path, dataset: DataSet, network: str
) -> None:
    request = replace(REQUEST, network=network, epochs=2)
    one = train_into(tmp_path / "one", request, dataset)
    again = train_into(tmp_path / "again", request, dataset)
    other = train_into(tmp_path / "other", replace(request, seed=2), dataset)
    assert one.evaluation == again.evaluation
    metrics = [
        {name: m.metrics[name] for name in ("accuracy", "loss", "train_accuracy", "val_loss")}
        for m in (one, again, other)
    ]
    assert metrics[0] == metrics[1]
    assert metrics[0]["loss"] != metrics[2]["loss"]


# Presets


def test_tensorflow_changes_the_images_as_drawn(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    shape = (10, 16, 3)
    images = random.integers(0, 256, (40, *shape), dtype=np.uint8)
    part = LabelledImages(images=images, labels=np.arange(40) % 3)
    arrays = LabelledArrays(train=part, test=part, classes=("a", "b", "c"), origin="here")
    dataset = arrays.save(DatasetStore(tmp_path), "noise")
    moving = Augmentation(translation=0.2, flip=True)
    transforms = moving.draw(random, len(images), shape)
    shown = moving.apply(batches(dataset, np.arange(40), 16), transforms, 16)
    assert not shown.options().autotune.enabled  # an epoch would wait for its thread
    assert int(shown.cardinality()) == 3
    found, labels = (
        np.concatenate(parts) for parts in zip(*shown.as_numpy_iterator(), strict=True)
    )
    np.testing.assert_array_equal(labels, part.labels)

    for image, changed, (a, _, c, _, _, f, _, _) in zip(images, found, transforms, strict=True):
        expected = np.zeros_like(image)
        for y, x in np.ndindex(shape[:2]):
            from_y, from_x = round(y + f), round(a * x + c)
            if 0 <= from_y < shape[0] and 0 <= from_x < shape[1]:
                expected[y, x] = image[from_y, from_x]
        np.testing.assert_array_equal(changed, expected)


def test_a_preset_may_train_a_larger_network(tmp_path: Path, dataset: DataSet) -> None:
    import keras

    request = replace(REQUEST, network="cnn", preset="best", epochs=1)
    train_into(tmp_path, request, dataset)
    model = keras.saving.load_model(tmp_path / MODEL_FILE)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert (kinds.count("Conv2D"), kinds.count("MaxPooling2D"), kinds.count("Dropout")) == (4, 2, 3)


def test_a_model_trained_on_changed_images_has_no_trace_of_how_they_were_changed(
    tmp_path: Path, dataset: DataSet
) -> None:
    import keras

    request = replace(REQUEST, network="cnn", epochs=1)
    plain = train_into(tmp_path / "plain", request, dataset)
    changed = train_into(tmp_path / "changed", replace(request, augment=True), dataset)
    assert (plain.augment, changed.augment) == (False, True)
    assert plain.metrics["loss"] != changed.metrics["loss"]
    one, other = (
        keras.saving.load_model(tmp_path / name / MODEL_FILE) for name in ("plain", "changed")
    )
    assert one.to_json() == other.to_json()


def test_a_training_that_gets_no_better_ends_and_its_best_epoch_is_kept(
    tmp_path: Path, dataset: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    hasty = Recipe(epochs=40, batch_size=32, learning_rate=0.02, patience=3)
    monkeypatch.setitem(NETWORKS["mlp"].presets, "hasty", hasty)
    reports: list[EpochReport] = []
    request = replace(REQUEST, preset="hasty", epochs=40)
    manifest = train(request, dataset, tmp_path, reports.append)
    best = min(reports, key=lambda report: report.val_loss)
    assert len(reports) == best.epoch + 3 < 40
    assert manifest.metrics["best_epoch"] == best.epoch
    assert (manifest.epochs, manifest.metrics["epochs"]) == (40, best.epoch + 3)
    assert manifest.metrics["val_loss"] == best.val_loss
    model = keras.saving.load_model(tmp_path / MODEL_FILE)
    rows = np.random.default_rng(REQUEST.seed).permutation(dataset.training_rows())
    held_back = rows[-round(len(rows) / 10) :]
    loss, _ = model.evaluate(
        dataset.images("train")[held_back], dataset.labels("train")[held_back], verbose=0
    )
    assert loss == pytest.approx(best.val_loss, rel=1e-4)


def test_a_falling_learning_rate_ends_near_nothing_however_short_the_training() -> None:
    for epochs, steps in ((1, 1), (1, 2), (3, 100)):
        recipe = Recipe(epochs=epochs, batch_size=32, learning_rate=0.01, falling=True)
        rate = recipe.optimizer(steps)._learning_rate
        rates = [float(rate(step)) for step in range(epochs * steps + 1)]
        assert max(rates) == pytest.approx(0.01, rel=0.01)
        assert rates[-1] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("falling", [False, True])
def test_weight_decay_takes_its_share_of_every_weight_at_each_step(falling: bool) -> None:
    import keras

    for decay, left in ((0.0, 1.0), (0.5, 1 - 0.1 * 0.5)):
        recipe = Recipe(
            epochs=1, batch_size=32, learning_rate=0.1, weight_decay=decay, falling=falling
        )
        weight = keras.Variable([1.0, -2.0])
        optimizer = recipe.optimizer(5)
        optimizer.apply_gradients([(keras.ops.zeros(2), weight)])
        np.testing.assert_allclose(weight.numpy(), np.array([left, -2 * left]), rtol=1e-3)


def test_the_cnn_learns_better_than_the_mlp(tmp_path: Path, dataset: DataSet) -> None:
    manifest = train_into(tmp_path / "cnn", replace(REQUEST, network="cnn", epochs=8), dataset)
    assert manifest.metrics["accuracy"] > 0.95


def test_a_training_that_diverges_is_told(dataset: DataSet) -> None:
    import keras

    model = get_network("mlp").build((8, 8, 1), 10)
    model.compile(
        optimizer=keras.optimizers.SGD(1e30),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    rows = np.arange(dataset.split("train").count)
    with pytest.raises(TrainingFailed, match=r"diverged in epoch 1 \(loss nan\)"):
        fit(model, REQUEST, dataset, rows[100:], rows[:100], lambda report: None)


def test_a_data_set_of_one_training_image_is_refused(tmp_path: Path) -> None:
    part = LabelledImages(images=np.zeros((1, 4, 4, 1), np.uint8), labels=np.array([0]))
    arrays = LabelledArrays(train=part, test=part, classes=("a", "b"), origin="here")
    tiny = arrays.save(DatasetStore(tmp_path), "tiny")
    with pytest.raises(TrainingFailed, match="too few images"):
        train(REQUEST, tiny, tmp_path)


# Exports


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_an_export_loads_in_keras_and_predicts_the_same_from_raw_pixels(
    trained: tuple[ModelVersion, list[EpochReport]],
    dataset: DataSet,
    tmp_path: Path,
    suffix: str,
) -> None:
    import keras

    path = tmp_path / f"model{suffix}"
    export(trained[0], path)
    exported = keras.saving.load_model(path, compile=False)
    published = keras.saving.load_model(trained[0].on("tensorflow").model_path, compile=False)
    np.testing.assert_array_equal(
        keras_predictions(exported, dataset), keras_predictions(published, dataset)
    )
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_an_h5_file_is_one_that_keras_2_can_read(
    trained: tuple[ModelVersion, list[EpochReport]], tmp_path: Path
) -> None:
    import h5py  # type: ignore[import-untyped]

    export(trained[0], tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5") as file:
        config = file.attrs["model_config"]
    # Tried with tf_keras 2.21, which refuses the file when any of these is there.
    for newer in ("batch_shape", "DTypePolicy", "registered_name", "quantization_config"):
        assert f'"{newer}"' not in config
    assert '"batch_input_shape": [null, 8, 8, 1]' in config


# Publishing


def test_two_trainers_at_once_publish_the_same_model_under_two_numbers(
    system: Mapping[str, str],
) -> None:
    command = ["trainer", "train", "--dataset", "digits"]
    command += ["--epochs", "2", "--name", "race", "--json"]
    running = [start(system, *command) for _ in range(2)]
    published = {json.loads(program.communicate(timeout=200)[0])["model"] for program in running}
    assert published == {"race@1", "race@2"}
    first, second = ModelStore(Path(system["BATCHSIGHT_STORAGE"])).versions("race")
    for version in (first, second):
        version.verify()
    for metric in ("accuracy", "loss"):
        assert first.manifest.metrics[metric] == second.manifest.metrics[metric]
