"""Trainings that start from what another network has learned, with the real Keras."""

from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from storage.datasets.store import DataSet, DatasetStore
from storage.models.contract import Contract
from storage.models.store import ModelStore, ModelVersion
from tests.digits import digits
from trainer.datasets.arrays import LabelledArrays, LabelledImages
from trainer.datasets.downloads import Downloads, RemoteFile
from trainer.errors import DownloadFailed, TrainingFailed, UnknownNetwork
from trainer.importing.originals.keras_original import around
from trainer.pipeline import Pipeline
from trainer.promotion.gate import Gate
from trainer.settings import TrainerSettings
from trainer.training.backbones import BACKBONES
from trainer.training.progress import EpochReport
from trainer.training.train import TrainingRequest, train
from trainer.training.transfer import Transfer, features_of, weighted_layers, without_head
from trainer.training.weights_file import read_weights

SHAPE = (32, 32, 3)
CLASSES = 5

Build = Callable[[], keras.Model]


def inner(*end: keras.Layer) -> keras.Model:
    """A small network whose weights are all by chance."""
    given = keras.Input(SHAPE)
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(given)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(16, 3, strides=2, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    for layer in end:
        x = layer(x)
    return keras.Model(given, x)


def plain() -> keras.Model:
    return inner(layers.Dropout(0.5), layers.Dense(CLASSES, activation="softmax"))


def split_activation() -> keras.Model:
    return inner(layers.Dense(CLASSES), layers.Softmax())


def imported() -> keras.Model:
    pixels = keras.Input(SHAPE, dtype="uint8")
    contract = Contract(source="keras", output="logits")
    return keras.Model(pixels, around(inner(layers.Dense(CLASSES)), pixels, contract, SHAPE))


def in_sequence() -> keras.Model:
    network = inner(layers.Dense(CLASSES))
    return keras.Sequential(
        [keras.Input(SHAPE), layers.Rescaling(1 / 255), network, layers.Softmax()]
    )


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (7, *SHAPE), np.uint8)


@pytest.mark.parametrize("build", [plain, split_activation, imported, in_sequence])
def test_features_are_what_the_last_weights_are_given(
    build: Build, images: np.ndarray, tmp_path: Path
) -> None:
    build().save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    weights, bias = list(weighted_layers(model))[-1].get_weights()
    features = np.asarray(without_head(model)(images, training=False))
    logits = features @ weights + bias
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(expected, np.asarray(model(images, training=False)), atol=1e-5)


def test_the_features_of_one_sigmoid_unit_are_found_behind_its_two_classes(
    images: np.ndarray,
) -> None:
    pixels = keras.Input(SHAPE, dtype="uint8")
    unit = inner(layers.Dense(1, activation="sigmoid"))
    contract = Contract(source="keras", output="sigmoid")
    model = keras.Model(pixels, around(unit, pixels, contract, SHAPE))
    assert without_head(model)(images).shape == (7, 16)


def test_the_classes_of_a_last_convolution_are_left_out_too(images: np.ndarray) -> None:
    model = keras.applications.MobileNetV3Small(weights=None, classes=4, input_shape=SHAPE)
    assert Transfer.of(without_head(model), 3).model("transfer")(images).shape == (7, 3)


def test_the_upper_half_learns_and_no_batch_normalisation() -> None:
    transfer = Transfer.of(without_head(plain()), 3)
    trained = {layer.name: layer.trainable for layer in weighted_layers(transfer.features)}
    assert list(trained.values()) == [False, False, True]


# A parent and its child: scikit-learn's digits


def digits_data(root: Path, chosen: range, count: int, size: int = 8) -> DataSet:
    """Some of the digits, in colour as photographs are."""
    images, labels = digits()
    keep = np.flatnonzero(np.isin(labels, chosen))
    pixels = images[keep].repeat(size // 8, axis=1).repeat(size // 8, axis=2)
    colour = np.stack([pixels] * 3, axis=-1)
    known = np.array([chosen.index(label) for label in labels[keep]], np.int64)
    name = f"digits-{chosen[0]}-{size}-{count}"
    arrays = LabelledArrays(
        train=LabelledImages(images=colour[:count], labels=known[:count]),
        test=LabelledImages(images=colour[count:][:100], labels=known[count:][:100]),
        classes=tuple(map(str, chosen)),
        origin="scikit-learn",
    )
    return arrays.save(DatasetStore(root), name)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def pipeline(root: Path) -> Iterator[Pipeline]:
    yield Pipeline(
        DatasetStore(root),
        ModelStore(root),
        Downloads(root / "downloads", 1),
        Gate(TrainerSettings().thresholds),
    )


@pytest.fixture(scope="module")
def parent(pipeline: Pipeline, root: Path) -> ModelVersion:
    digits_data(root, range(6), 600)
    request = TrainingRequest.with_defaults(
        dataset="digits-0-8-600", network="cnn", epochs=5, name="parent"
    )
    return pipeline.run(request).version


def child_of(parent: ModelVersion, dataset: DataSet) -> TrainingRequest:
    return TrainingRequest.with_defaults(
        dataset=dataset.name, parent=str(parent), epochs=2, name="child"
    )


@pytest.fixture(scope="module")
def others(root: Path) -> DataSet:
    return digits_data(root, range(6, 10), 240)


@pytest.fixture(scope="module")
def child(
    pipeline: Pipeline, parent: ModelVersion, others: DataSet
) -> tuple[ModelVersion, list[EpochReport]]:
    reports: list[EpochReport] = []
    return pipeline.run(child_of(parent, others), reports.append).version, reports


def test_a_child_learns_other_classes_and_names_its_parent(
    child: tuple[ModelVersion, list[EpochReport]], parent: ModelVersion, others: DataSet
) -> None:
    version, reports = child
    assert version.manifest.parent == str(parent)
    assert version.manifest.network == "transfer"
    assert version.manifest.labels == ("6", "7", "8", "9")
    assert [report.head_only for report in reports] == [True, False]
    assert (version.manifest.accuracy or 0) > 0.8
    model = keras.saving.load_model(version.on("tensorflow").model_path)
    predicted = model.predict(np.asarray(others.images("test")), verbose=0).argmax(axis=1)
    assert (predicted == others.labels("test")).mean() == version.manifest.accuracy


@pytest.mark.parametrize("name", ["curves", "confusion", "predictions"])
def test_its_pictures_name_the_version(
    child: tuple[ModelVersion, list[EpochReport]], name: str
) -> None:
    version, _ = child
    with Image.open(version.folder / f"{name}.png", formats=["PNG"]) as image:
        assert str(image.info["Title"]).startswith(f"{version}, transfer")


def test_a_child_that_was_killed_after_its_head_becomes_the_same(
    child: tuple[ModelVersion, list[EpochReport]],
    parent: ModelVersion,
    others: DataSet,
    tmp_path: Path,
) -> None:
    request = child_of(parent, others)
    checkpoint = request.checkpoint(tmp_path, others)

    def die(report: EpochReport) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(request, others, tmp_path, die, parent=parent, checkpoint=checkpoint)
    reports: list[EpochReport] = []
    again = train(request, others, tmp_path, reports.append, parent=parent, checkpoint=checkpoint)
    assert reports[0].resumed and reports[0].head_only
    assert again.metrics["loss"] == child[0].manifest.metrics["loss"]


def test_images_of_another_shape_are_refused_with_the_command_that_helps(
    pipeline: Pipeline, parent: ModelVersion, root: Path
) -> None:
    dataset = digits_data(root, range(6, 10), 20, size=16)
    with pytest.raises(
        TrainingFailed, match=r"trainer data add digits-6-16-20 folder:DIR --replace"
    ):
        pipeline.run(child_of(parent, dataset))


def test_an_onnx_version_cannot_learn(parent: ModelVersion) -> None:
    contract = Contract(source="saved-model")
    manifest = parent.manifest.model_copy(update={"format": "onnx", "contract": contract})
    onnx = ModelVersion(name="other", number=1, folder=parent.folder, manifest=manifest)
    with pytest.raises(TrainingFailed, match=r"from a SavedModel and .* can answer but not learn"):
        features_of(onnx)


# keras.applications


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mine.weights.h5"
    BACKBONES["mobilenet"].build(SHAPE).save_weights(path)
    return path


def test_weights_of_a_file_are_those_that_keras_reads(weights: Path, tmp_path: Path) -> None:
    model = BACKBONES["mobilenet"].build(SHAPE)
    model.load_weights(weights)
    read = read_weights(weights, "mobilenet", (32, 32, 1), tmp_path)
    assert len(read) == len(model.get_weights())
    for ours, theirs in zip(read, model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_of_weights_is_refused(weights: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.h5"
    torn.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(TrainingFailed, match=r"torn\.h5 has no weights for mobilenet"):
        read_weights(torn, "mobilenet", SHAPE, tmp_path)


def test_a_backbone_learns_from_its_weights_and_says_so(
    pipeline: Pipeline, weights: Path, root: Path
) -> None:
    digits_data(root, range(3), 60, size=32)
    request = TrainingRequest.with_defaults(
        dataset="digits-0-32-60", network="mobilenet", weights=str(weights), epochs=1, name="small"
    )
    version = pipeline.run(request).version
    assert version.manifest.parent == str(weights)
    assert version.manifest.input_shape == SHAPE


class Unreachable(Downloads):
    """A folder that nothing can be fetched into."""

    def get(self, file: RemoteFile) -> Path:
        raise DownloadFailed(f"{file.origin} cannot be had: no connection.")


@pytest.fixture
def offline(root: Path) -> Pipeline:
    downloads = Unreachable(root / "downloads", 1)
    gate = Gate(TrainerSettings().thresholds)
    return Pipeline(DatasetStore(root), ModelStore(root), downloads, gate)


def test_weights_that_cannot_be_fetched_are_asked_for(offline: Pipeline, root: Path) -> None:
    file = BACKBONES["mobilenet"].imagenet
    digits_data(root, range(3), 60, size=32)
    request = TrainingRequest.with_defaults(dataset="digits-0-32-60", network="mobilenet")
    with pytest.raises(TrainingFailed) as refused:
        offline.run(request)
    for told in (
        file.name,
        file.digest[4:],
        str(root / "downloads"),
        "--weights none",
        "--from NAME@N",
    ):
        assert told in str(refused.value)


def test_the_network_for_photographs_is_one_that_has_seen_many_if_that_can_be_had(
    offline: Pipeline, pipeline: Pipeline, root: Path
) -> None:
    digits_data(root, range(3), 20, size=96)
    network, why = offline.usual_network("digits-0-96-20")
    assert network == "resnet"
    assert "mobilenet would be better" in str(why)
    assert offline.usual_network("digits-0-32-60") == ("mlp", None)
    assert offline.usual_network("mnist") == ("mlp", None)


def test_weights_are_refused_for_a_network_that_has_none() -> None:
    with pytest.raises(UnknownNetwork, match="mobilenet, efficientnet"):
        TrainingRequest.with_defaults(dataset="digits", network="cnn", weights="imagenet")


def test_small_images_are_too_small_for_a_backbone() -> None:
    with pytest.raises(TrainingFailed, match="32 pixels or more"):
        BACKBONES["efficientnet"].network((28, 28, 1), 10)
