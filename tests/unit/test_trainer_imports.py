"""Models from elsewhere, as far as no TensorFlow is needed to see what is wrong with them."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.errors import Corrupt
from storage.examinations import Figures
from storage.models import IMPORTED, ModelStore, ModelVersion
from storage.promotions import read_promotion
from tests.builders import LABELS, SHAPE, add_dataset, as_any
from trainer.errors import ExaminationFailed, ImportFailed
from trainer.examination import Examination
from trainer.gate import Gate
from trainer.imports import read_labels
from trainer.pipeline import Pipeline
from trainer.progress import ImportSummary
from trainer.settings import TrainerSettings

ACTUAL = [i % len(LABELS) for i in range(90)]
FIGURES = Figures(
    load_seconds=1, images_per_second=1000, latency_ms=2, processor_ms=2, peak_memory_mb=500
)


def archive(
    path: Path, shape: Sequence[int | None] | None = (None, *SHAPE), **members: Any
) -> Path:
    """A file of Keras' form whose network takes inputs of this shape."""
    layers: list[dict[str, Any]] = [{"class_name": "Dense", "config": {"units": 3}}]
    if shape is not None:
        layers.insert(0, {"class_name": "InputLayer", "config": {"batch_shape": list(shape)}})
    known = {
        "config.json": json.dumps({"class_name": "Sequential", "config": {"layers": layers}}),
        "metadata.json": json.dumps({"keras_version": "3.9.0"}),
        "model.weights.h5": "weights",
    }
    with zipfile.ZipFile(path, "w") as file:
        for name, content in (known | members).items():
            file.writestr(name, content)
    return path


class House:
    """A storage with a data set, and an examiner that names the class by the first pixel."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dataset = add_dataset(root, ACTUAL)
        self.models = ModelStore(root)
        self.error: ExaminationFailed | None = None
        gate = Gate(TrainerSettings().thresholds, self.examine)
        self.pipeline = Pipeline(as_any(None), self.models, as_any(None), gate)
        self.pipeline.datasets = as_any(self)

    def examine(self, version: ModelVersion, images: Path | None) -> Examination:
        if self.error:
            raise self.error
        labels = version.manifest.labels
        actual = np.load(images)[:, 0, 0, 0] if images else []
        return Examination(
            predictions=np.array([labels.index(LABELS[i]) for i in actual], np.int32),
            scores=np.full(len(actual), 0.95, np.float32),
            figures=FIGURES,
        )

    # What `ensure_dataset` asks of the store.

    def numbers(self, name: str) -> list[int]:
        return [1]

    def get(self, reference: str) -> Any:
        return self.dataset

    def bring_in(
        self, path: Path, dataset: str | None = None, labels: Sequence[str] = LABELS
    ) -> ImportSummary:
        return self.pipeline.bring_in(path, "foreign", labels, dataset)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "storage")


def test_a_tested_model_goes_through_the_gate(house: House, tmp_path: Path) -> None:
    path = archive(tmp_path / "other.keras")
    summary = house.bring_in(path, "digits", labels=LABELS[::-1])
    assert str(summary) == (
        "foreign@1: other.keras imported, test accuracy 1.0000 on digits@1. "
        "Champion: the first champion."
    )
    version = house.models.resolve("foreign")
    manifest = version.manifest
    assert version.model_path.read_bytes() == path.read_bytes()
    version.verify()
    assert (manifest.network, manifest.dataset, manifest.labels) == (
        IMPORTED,
        "digits",
        LABELS[::-1],
    )
    assert (manifest.seed, manifest.epochs, manifest.batch_size) == (None, None, None)
    assert manifest.versions == {"keras": "3.9.0"}
    assert manifest.evaluation.matrix.tolist() == [[30, 0, 0], [0, 30, 0], [0, 0, 30]]
    assert manifest.baseline is not None
    assert manifest.baseline.classes == (30, 30, 30)
    assert read_promotion(version) is not None


def test_an_untested_model_is_published_and_only_force_promotes_it(
    house: House, tmp_path: Path
) -> None:
    summary = house.bring_in(archive(tmp_path / "other.keras"))
    assert summary.accuracy is None
    assert str(summary) == (
        "foreign@1: other.keras imported. Not promoted: "
        "not tested, `trainer promote foreign@1 --force` does it."
    )
    assert house.models.champion("foreign") is None
    version = house.models.version("foreign", 1)
    assert (version.manifest.dataset, version.manifest.evaluation.count) == (None, 0)
    house.pipeline.force(version)
    promotion = read_promotion(version)
    assert promotion is not None
    assert len(promotion.overrides) == 1
    assert promotion.reason.startswith("foreign@1 was never tested on a data set")
    assert house.models.resolve("foreign").number == 1


def test_an_import_is_no_training(house: House, tmp_path: Path) -> None:
    house.bring_in(archive(tmp_path / "other.keras"))
    assert house.pipeline.trained_since("foreign", 0.0) is None


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((None, 9, 9, 1), "takes images of 9 x 9 x 1, those of data set digits@1 are 4 x 4 x 1"),
        ((None, 784), r"takes inputs of the shape \(None, 784\), not images \(N, H, W, C\)"),
    ],
)
def test_a_model_for_other_images_is_not_published(
    house: House, tmp_path: Path, shape: tuple[int | None, ...], sentence: str
) -> None:
    with pytest.raises(ImportFailed, match=sentence):
        house.bring_in(archive(tmp_path / "other.keras", shape), "digits")
    assert house.models.numbers("foreign") == []


@pytest.mark.parametrize("shape", [None, (None, None, None, 1)])
def test_a_model_for_any_images_takes_the_size_of_the_data_set(
    house: House, tmp_path: Path, shape: tuple[int | None, ...] | None
) -> None:
    path = archive(tmp_path / "other.keras", shape)
    with pytest.raises(ImportFailed, match="what size of images it takes: name a --dataset"):
        house.bring_in(path)
    house.bring_in(path, "digits")
    assert house.models.resolve("foreign").manifest.input_shape == SHAPE


def test_other_classes_than_those_of_the_data_set_are_refused(house: House, tmp_path: Path) -> None:
    with pytest.raises(ImportFailed, match="has 3 classes and data set digits@1 3, '2' being only"):
        house.bring_in(archive(tmp_path / "other.keras"), "digits", labels=("zero", "one", "2"))


def test_what_the_worker_refuses_is_told_of_the_file_that_was_given(
    house: House, tmp_path: Path
) -> None:
    path = archive(tmp_path / "other.keras")
    house.error = ExaminationFailed("The model cannot be loaded: it is strange.")
    with pytest.raises(ImportFailed, match="is not published: The model cannot be loaded"):
        house.bring_in(path)
    assert list((house.root / "models" / "foreign").glob(".new-*")) == []


@pytest.mark.parametrize(
    ("members", "error", "sentence"),
    [
        ({"evil.py": "import os"}, Corrupt, "holds 'evil.py'"),
        ({"config.json": "{"}, ImportFailed, "its config.json cannot be read"),
        ({"config.json": "[" * 100_000}, ImportFailed, "its config.json cannot be read"),
        ({"config.json": "[]"}, ImportFailed, "its config.json is no JSON object"),
    ],
)
def test_a_strange_archive_is_refused_before_keras_sees_it(
    house: House,
    tmp_path: Path,
    members: dict[str, Any],
    error: type[Exception],
    sentence: str,
) -> None:
    path = archive(tmp_path / "other.keras", **members)
    house.error = ExaminationFailed("It must not be examined.")
    with pytest.raises(error, match=sentence):
        house.bring_in(path)


def test_what_is_no_archive_is_refused(house: House, tmp_path: Path) -> None:
    path = tmp_path / "other.keras"
    with pytest.raises(ImportFailed, match="There is no file"):
        house.bring_in(path)
    path.write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(Corrupt, match="is no Keras archive"):
        house.bring_in(path)


def test_labels_are_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("zero\none \n\u4e8c\n", "utf-8")
    assert read_labels(path) == ("zero", "one", "\u4e8c")


@pytest.mark.parametrize("content", [b"", b"one\n", b"a\n\nb\n", b"a\nb\na\n", b"\xff\xfe\n\xff"])
def test_labels_that_cannot_be_used_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(ImportFailed, match=r"labels\.txt (must name|is not UTF-8)"):
        read_labels(path)
