"""Keras models from elsewhere, loaded by a real worker process."""

from pathlib import Path
from typing import Any

import pytest

from storage.datasets import DataSet, DatasetStore
from storage.models import ModelStore
from tests.digits import TEST_IMAGES, digits
from trainer.arrays import LabelledArrays, LabelledImages
from trainer.downloads import Downloads
from trainer.errors import ImportFailed
from trainer.gate import Gate
from trainer.pipeline import Pipeline
from trainer.settings import TrainerSettings
from trainer.training import import_tensorflow

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


def train_elsewhere(dataset: DataSet, activation: str) -> Any:
    """A network with a float input and its own order of classes."""
    import_tensorflow(1)
    import keras

    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation=activation),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=activation == "linear")
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss=loss)
    model.fit(
        dataset.images("train"), 9 - dataset.labels("train"), epochs=10, batch_size=64, verbose=0
    )
    return model


def test_a_model_with_a_float_input_is_tested_and_becomes_champion(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    model = train_elsewhere(pipeline.datasets.get("digits"), "softmax")
    model.save(tmp_path / "other.keras")
    summary = pipeline.bring_in(tmp_path / "other.keras", "digits", LABELS, "digits")
    assert summary.promoted, summary.reason
    assert summary.accuracy is not None
    assert summary.accuracy > 0.85
    assert pipeline.models.resolve("digits").manifest.labels == LABELS


def test_logits_are_refused_with_the_way_out(pipeline: Pipeline, tmp_path: Path) -> None:
    model = train_elsewhere(pipeline.datasets.get("digits"), "linear")
    path = tmp_path / "logits.keras"
    model.save(path)
    with pytest.raises(
        ImportFailed, match="which add up to 1: end it with a softmax layer"
    ) as told:
        pipeline.bring_in(path, "logits", LABELS, "digits")
    assert f"The model {path} fails its warm-up" in str(told.value)
    assert pipeline.models.numbers("logits") == []
