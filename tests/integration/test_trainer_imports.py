"""Keras models from elsewhere, loaded by a real worker process."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from imaging.scalings import SCALINGS, Scaling
from storage.datasets.store import DataSet, DatasetStore
from storage.models.store import ModelStore, ModelVersion
from tests.digits import TEST_IMAGES, digits
from trainer.datasets.arrays import LabelledArrays, LabelledImages
from trainer.datasets.downloads import Downloads
from trainer.errors import ImportFailed, Unusable
from trainer.importing.model_import import ImportRequest
from trainer.pipeline import Pipeline
from trainer.promotion.gate import Gate
from trainer.settings import TrainerSettings
from trainer.training.progress import ImportSummary
from trainer.training.train import import_tensorflow
from worker.errors import ModelRefused
from worker.examination.outputs import find_fault
from worker.runtimes.model_cache import load_predictor

LABELS = tuple("9876543210")
"""In another order than the data set's."""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    root = tmp_path_factory.mktemp("storage")
    images, labels = digits()
    arrays = LabelledArrays(
        train=LabelledImages(images=images[TEST_IMAGES:, ..., None], labels=labels[TEST_IMAGES:]),
        test=LabelledImages(images=images[:TEST_IMAGES, ..., None], labels=labels[:TEST_IMAGES]),
        classes=tuple("0123456789"),
        origin="scikit-learn",
    )
    store = DatasetStore(root)
    arrays.save(store, "digits")
    gate = Gate(TrainerSettings().thresholds)
    return Pipeline(store, ModelStore(root), Downloads(root, 1.0), gate)


def train_elsewhere(dataset: DataSet, activation: str, scale: Scaling | None = None) -> Any:
    """A network with a float input and its own order of classes; with a scale it has no layer."""
    import_tensorflow(1)
    import keras

    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 255) if scale is None else keras.layers.Identity(),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation=activation),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=activation == "linear")
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss=loss)
    images = dataset.images("train")
    model.fit(
        images if scale is None else scale(images),
        9 - dataset.labels("train"),
        epochs=10,
        batch_size=64,
        verbose=0,
    )
    return model


def bring_in(pipeline: Pipeline, path: Path, dataset: str | None = None) -> ImportSummary:
    """Import a model for digits under the name of its file."""
    name = path.stem.removesuffix("-fixed")
    request = ImportRequest(path=path, name=name, labels=LABELS)
    return pipeline.bring_in(request, dataset)


def remedy_in(sentence: object) -> str:
    """The program that a sentence ends with."""
    lines = str(sentence).splitlines()
    return "\n".join(line.removeprefix("  ") for line in lines if line.startswith("  "))


def test_a_model_with_a_float_input_is_tested_and_becomes_champion(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    model = train_elsewhere(pipeline.datasets.get("digits"), "softmax")
    model.save(tmp_path / "good.keras")
    summary = bring_in(pipeline, tmp_path / "good.keras", "digits")
    assert summary.promoted, summary.reason
    assert summary.accuracy is not None
    assert summary.accuracy > 0.85
    assert pipeline.models.resolve("good").manifest.labels == LABELS


def test_logits_are_refused_with_what_mends_them(pipeline: Pipeline, tmp_path: Path) -> None:
    model = train_elsewhere(pipeline.datasets.get("digits"), "linear")
    path = tmp_path / "logits.keras"
    model.save(path)
    with pytest.raises(ImportFailed, match="which add up to 1: end it with a softmax") as told:
        bring_in(pipeline, path, "digits")
    assert str(told.value).startswith(f"{path} is not published: it fails its warm-up: its outputs")
    assert pipeline.models.numbers("logits") == []
    assert "keras.layers.Softmax()" in remedy_in(told.value)


def test_a_model_for_another_scale_is_refused_with_what_mends_it(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    dataset = pipeline.datasets.get("digits")
    import keras

    path = tmp_path / "scaled.keras"
    scale = next(scaling for scaling in SCALINGS if scaling.name == "scaled to -1..1")
    model = train_elsewhere(dataset, "softmax", scale)
    model.save(path)
    right = model.predict(scale(dataset.images("test")), verbose=0).argmax(axis=1)
    accuracy = float((right == 9 - dataset.labels("test")).mean())
    with pytest.raises(ImportFailed, match=r"scaled to -1\.\.1 it would be 0\.[89]") as told:
        bring_in(pipeline, path, "digits")
    exec(remedy_in(told.value), {})  # as the user would
    fixed = keras.saving.load_model(tmp_path / "scaled-fixed.keras")
    answers = fixed.predict(dataset.images("test"), verbose=0).argmax(axis=1)
    assert float((answers == 9 - dataset.labels("test")).mean()) == accuracy


@pytest.mark.parametrize("scaling", SCALINGS, ids=lambda scaling: scaling.name)
def test_scalings_are_those_of_keras_and_of_the_layers_they_name(scaling: Scaling) -> None:
    import_tensorflow(1)
    import keras

    preprocess = keras.applications.imagenet_utils.preprocess_input
    pixels = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 3), np.uint8)
    floats = pixels.astype(np.float32)
    expected = {
        "scaled to 0..1": lambda: floats / 255,
        "scaled to -1..1": lambda: preprocess(floats.copy(), mode="tf"),
        "scaled by ImageNet's mean and deviation": lambda: preprocess(floats.copy(), mode="torch"),
        "as BGR minus ImageNet's mean": lambda: preprocess(floats.copy(), mode="caffe"),
        "as BGR": lambda: floats[..., ::-1],
        "as BGR scaled to 0..1": lambda: floats[..., ::-1] / 255,
    }[scaling.name]()
    np.testing.assert_allclose(scaling(pixels), expected, atol=1e-4)
    made: dict[str, Any] = {"keras": keras, "pixels": keras.Input((8, 8, 3))}
    exec("\n".join(scaling.layers), made)
    layers = keras.Model(made["pixels"], made["scaled"])
    np.testing.assert_allclose(layers.predict_on_batch(pixels), expected, atol=1e-4)


def small(keras: Any, shape: tuple[int | None, ...], *layers: Any) -> Any:
    return keras.Sequential([keras.Input(shape), *layers])


def one_unit(keras: Any) -> Any:
    flat = keras.layers.GlobalAveragePooling2D()
    scale = keras.layers.Rescaling(1 / 255)
    return small(keras, (8, 8, 3), scale, flat, keras.layers.Dense(1, activation="sigmoid"))


def one_logit(keras: Any) -> Any:
    flat = keras.layers.GlobalAveragePooling2D()
    return small(keras, (8, 8, 3), flat, keras.layers.Dense(1, kernel_initializer="ones"))


def one_tanh(keras: Any) -> Any:
    flat = keras.layers.GlobalAveragePooling2D()
    scale = keras.layers.Rescaling(1 / 255)
    unit = keras.layers.Dense(1, activation="tanh", kernel_initializer="ones")
    return small(keras, (8, 8, 3), scale, flat, unit)


def one_place(keras: Any) -> Any:
    scale = keras.layers.Rescaling(1 / 255)
    return small(keras, (8, 8, 3), scale, keras.layers.Conv2D(2, 8, activation="softmax"))


def logarithms(keras: Any) -> Any:
    flat = keras.layers.GlobalAveragePooling2D()
    scale = keras.layers.Rescaling(1 / 255)
    return small(keras, (8, 8, 3), scale, flat, keras.layers.Dense(2, activation="log_softmax"))


def channels_first(keras: Any) -> Any:
    flat = keras.layers.Flatten()
    return small(keras, (3, 8, 8), flat, keras.layers.Dense(2, activation="softmax"))


def flat_numbers(keras: Any) -> Any:
    return small(keras, (64,), keras.layers.Dense(2, activation="softmax"))


def no_channels(keras: Any) -> Any:
    flat = keras.layers.Flatten()
    return small(keras, (8, 6), flat, keras.layers.Dense(2, activation="softmax"))


def logits(keras: Any) -> Any:
    flat = keras.layers.GlobalAveragePooling2D()
    return small(keras, (8, 8, 3), flat, keras.layers.Dense(2))


def any_size(keras: Any) -> Any:
    flat = keras.layers.GlobalAveragePooling2D()
    return small(keras, (None, None, 3), flat, keras.layers.Dense(2, activation="softmax"))


def two_outputs(keras: Any) -> Any:
    pixels = keras.Input((8, 8, 3))
    flat = keras.layers.GlobalAveragePooling2D()(pixels)
    worth = keras.layers.Dense(1, name="worth")(flat)
    return keras.Model(pixels, [worth, keras.layers.Dense(2, activation="softmax")(flat)])


def named_outputs(keras: Any) -> Any:
    pixels = keras.Input((8, 8, 3))
    flat = keras.layers.GlobalAveragePooling2D()(pixels)
    worth = keras.layers.Dense(1, name="worth")(flat)
    kind = keras.layers.Dense(2, activation="softmax", name="kind")(flat)
    return keras.Model(pixels, {"worth": worth, "kind": kind})


def older_format(keras: Any) -> Any:
    flat = keras.layers.GlobalAveragePooling2D()
    return small(keras, (8, 8, 3), flat, keras.layers.Dense(2, activation="softmax"))


def read_plainly(model: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What a model says of images, each made what it asks for by hand."""
    shape = model.input_shape[1:]
    if shape == (3, 8, 8):
        pixels = pixels.transpose(0, 3, 1, 2)
    elif len(shape) < 3:
        pixels = pixels.reshape(len(pixels), *shape)
    answer = model.predict_on_batch(pixels.astype(np.float32))
    if isinstance(answer, dict):
        answer = answer["kind"]
    if isinstance(answer, list):
        answer = answer[1]
    answer = answer.astype(np.float64)
    if model.name == "one_logit":
        answer = 1 / (1 + np.exp(-answer))
    if model.name == "one_tanh":
        answer = (1 + answer) / 2
    if model.name == "one_place":
        answer = answer[:, 0, 0]
    if model.name == "logits":
        answer = np.exp(answer) / np.exp(answer).sum(axis=1, keepdims=True)
    if answer.shape[1] == 1:
        answer = np.hstack([1 - answer, answer])
    if answer.max() < 0:
        answer = np.exp(answer)
    probabilities: NDArray[np.float64] = answer
    return probabilities


@pytest.mark.parametrize(
    ("build", "suffix", "shape"),
    [
        (one_unit, ".keras", (8, 8, 3)),
        (one_logit, ".keras", (8, 8, 3)),
        (one_tanh, ".keras", (8, 8, 3)),
        (one_place, ".keras", (8, 8, 3)),
        (logits, ".keras", (8, 8, 3)),
        (logarithms, ".keras", (8, 8, 3)),
        (channels_first, ".keras", (8, 8, 3)),
        (flat_numbers, ".keras", (8, 8, 1)),
        (no_channels, ".keras", (8, 6, 1)),
        (any_size, ".keras", (224, 224, 3)),
        (two_outputs, ".keras", (8, 8, 3)),
        (named_outputs, ".keras", (8, 8, 3)),
        (older_format, ".h5", (8, 8, 3)),
    ],
)
@pytest.mark.filterwarnings("ignore")  # Keras recommends its newer format
def test_a_refused_model_is_mended_by_the_program_it_is_refused_with(
    examining_here: Pipeline,
    tmp_path: Path,
    build: Callable[[Any], Any],
    suffix: str,
    shape: tuple[int, int, int],
) -> None:
    import_tensorflow(1)
    import keras

    model = build(keras)
    model.name = build.__name__
    path = tmp_path / f"model{suffix}"
    model.save(path)
    request = ImportRequest(path=path, name="small", labels=("a", "b"))
    with pytest.raises(ImportFailed) as told:
        examining_here.bring_in(request, None)
    program = remedy_in(told.value)
    exec(program, {})
    fixed = keras.saving.load_model(tmp_path / "model-fixed.keras", compile=False, safe_mode=True)
    assert fixed.input_shape == (None, *shape)
    pixels = np.random.default_rng(1).integers(0, 256, (2, *shape), np.uint8)
    given = fixed.predict_on_batch(pixels)
    assert find_fault([given], 2) is None
    np.testing.assert_allclose(given, read_plainly(model, pixels), atol=1e-5)


@pytest.fixture
def examining_here(pipeline: Pipeline) -> Pipeline:
    """One that loads models in this process, which takes no seconds to begin."""

    def load(version: ModelVersion, images: Path | None, *, trials: bool) -> NoReturn:
        try:
            load_predictor(version)
        except ModelRefused as error:
            raise Unusable(str(error), error.remedy) from None
        pytest.fail("it is refused")

    gate = Gate(TrainerSettings().thresholds, load)
    return Pipeline(pipeline.datasets, pipeline.models, pipeline.downloads, gate)


def import_small(pipeline: Pipeline, path: Path, model: Any) -> ImportSummary:
    model.save(path)
    request = ImportRequest(path=path, name="small", labels=("a", "b"))
    return pipeline.bring_in(request, None)


def test_layers_that_keras_does_not_have_are_named(
    examining_here: Pipeline, tmp_path: Path
) -> None:
    import_tensorflow(1)
    import keras

    class Scale(keras.layers.Layer):
        def call(self, pixels: Any) -> Any:
            return pixels / 255

    end = keras.layers.Dense(2, activation="softmax")
    flat = keras.layers.GlobalAveragePooling2D()
    model = small(keras, (8, 8, 3), Scale(name="smaller"), flat, end)
    with pytest.raises(ImportFailed, match=r"its layer 'smaller' is a .*Scale, which is no part"):
        import_small(examining_here, tmp_path / "own.keras", model)
    model = small(keras, (8, 8, 3), keras.layers.Lambda(lambda x: x, name="same"), flat, end)
    with pytest.raises(ImportFailed, match="its layer 'same' is a Lambda, which holds") as told:
        import_small(examining_here, tmp_path / "code.keras", model)
    assert "safe_mode" not in str(told.value)


@pytest.mark.parametrize(
    ("old", "new", "keras_version", "sentence"),
    [
        ('"units": 2', '"units": 3', None, "object <Dense name=end.* The shape of the target"),
        ('"units": 2', '"unit": 2', None, "cannot be loaded: .* argument: 'units'"),
        ('"units": 2', '"unit": 2', "3.999.0", "written by Keras 3.999.0, and here is the older"),
        ('"units": 2', '"unit": 2', "2.15.0", "written by Keras 2.15.0, and Keras 3 cannot load"),
    ],
)
def test_what_keras_cannot_load_is_told_in_a_line(
    examining_here: Pipeline,
    tmp_path: Path,
    old: str,
    new: str,
    keras_version: str | None,
    sentence: str,
) -> None:
    import_tensorflow(1)
    import keras

    flat = keras.layers.GlobalAveragePooling2D()
    end = keras.layers.Dense(2, activation="softmax", name="end")
    small(keras, (8, 8, 3), flat, end).save(tmp_path / "whole.keras")
    version = keras_version or keras.__version__
    path = tmp_path / "changed.keras"
    with (
        zipfile.ZipFile(tmp_path / "whole.keras") as whole,
        zipfile.ZipFile(path, "w") as changed,
    ):
        for name in whole.namelist():
            content = whole.read(name)
            if name.endswith(".json"):
                text = content.decode().replace(old, new)
                content = text.replace(keras.__version__, version).encode()
            changed.writestr(name, content)
    with pytest.raises(ImportFailed, match=sentence) as told:
        request = ImportRequest(path=path, name="small", labels=("a", "b"))
        examining_here.bring_in(request, None)
    assert len(str(told.value)) < 600
    assert "\n" not in str(told.value)


def test_models_that_look_odd_but_are_right_are_imported(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    import_tensorflow(1)
    import keras

    pixels = keras.Input((8, 8, 3), batch_size=1, dtype="uint8", name="picture")
    scaled = keras.layers.Rescaling(1 / 255)(pixels)
    flat = keras.layers.GlobalAveragePooling2D()(scaled)
    listed = keras.Model([pixels], [keras.layers.Dense(2, activation="softmax")(flat)])
    summary = import_small(pipeline, tmp_path / "odd.keras", listed)
    speed = pipeline.models.resolve(summary.model).manifest.metrics["images_per_second"]
    assert speed > 100
    assert len(summary.notes) == 1
