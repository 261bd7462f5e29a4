"""A model that was trained elsewhere as a version: a `.keras` file and the names of its classes.

The file is taken as it is, byte for byte. It is loaded only by a clean worker process with limits,
and only if it holds nothing but what Keras writes.
"""

import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from storage.baseline import Baseline
from storage.datasets import DataSet
from storage.evaluation import Evaluation
from storage.files import sha256_of
from storage.images import Shape
from storage.models import (
    IMPORTED,
    MODEL_BYTES_LIMIT,
    MODEL_FILE,
    Manifest,
    ModelStore,
    ModelVersion,
    check_archive,
)
from trainer.errors import ExaminationFailed, ImportFailed
from trainer.examination import Examination
from trainer.gate import SPLIT, Gate, find_misfit

LABELS_BYTES_LIMIT = 1_000_000
CONFIG_BYTES_LIMIT = 50_000_000


def read_labels(path: Path) -> tuple[str, ...]:
    """The names of the classes, one a line, in the order of the model's outputs."""
    if not path.is_file():
        raise ImportFailed(f"There is no file {path} with the names of the classes.")
    if path.stat().st_size > LABELS_BYTES_LIMIT:
        raise ImportFailed(f"{path} is too large for names of classes, one a line.")
    try:
        labels = tuple(line.strip() for line in path.read_text("utf-8").splitlines())
    except UnicodeDecodeError:
        raise ImportFailed(f"{path} is not UTF-8 text: save it as such.") from None
    if len(labels) < 2 or not all(labels) or len(set(labels)) < len(labels):
        raise ImportFailed(f"{path} must name two classes or more, one a line, no name twice.")
    return labels


def import_model(
    path: Path,
    name: str,
    labels: Sequence[str],
    dataset: DataSet | None,
    models: ModelStore,
    gate: Gate,
) -> ModelVersion:
    """Publish a `.keras` file as the next version of a model; it does not become champion.

    It must take uint8 pixels (N, H, W, C), 0 to 255, and give one probability per label. With a
    data set it is tested on that; without one its accuracy stays unknown. Raises `ImportFailed`.
    """
    if not path.is_file():
        raise ImportFailed(f"There is no file {path} to import.")
    if path.stat().st_size > MODEL_BYTES_LIMIT:
        raise ImportFailed(f"{path} is larger than {MODEL_BYTES_LIMIT / 1e9:.0f} GB.")
    with models.draft(name) as draft:
        shutil.copyfile(path, draft / MODEL_FILE)
        check_archive(draft / MODEL_FILE, str(path))
        shape = input_shape(draft / MODEL_FILE, path, dataset)
        manifest = Manifest(
            network=IMPORTED,
            preset=None,
            dataset=dataset.name if dataset else None,
            dataset_number=dataset.number if dataset else 1,
            dataset_sha256=dataset.description.sha256 if dataset else None,
            seed=None,
            epochs=None,
            batch_size=None,
            labels=tuple(labels),
            input_shape=shape,
            evaluation=Evaluation.of(labels, np.empty(0, np.int32), np.empty(0, np.int32)),
            metrics={},
            versions=keras_version(draft / MODEL_FILE),
            sha256=sha256_of(draft / MODEL_FILE),
            created_at=datetime.now(UTC),
        )
        number = max(models.numbers(name), default=0) + 1
        version = ModelVersion(name=name, number=number, folder=draft, manifest=manifest)
        if dataset and (problem := find_misfit(version, dataset)):
            raise ImportFailed(f"{path} is not published: {problem}.")
        try:
            found = gate.examine(version, dataset.images_path(SPLIT) if dataset else None)
        except ExaminationFailed as error:
            reason = str(error).replace(str(draft / MODEL_FILE), str(path)).removesuffix(".")
            raise ImportFailed(f"{path} is not published: {reason}.") from None
        if dataset:
            manifest = manifest.model_copy(update=test_results(found, manifest, dataset))
        return models.publish(name, draft, manifest)


def test_results(found: Examination, manifest: Manifest, dataset: DataSet) -> dict[str, Any]:
    """What is known of a model once it was tested, as fields of its manifest."""
    labels = manifest.labels
    order = np.array([labels.index(label) for label in dataset.description.classes])
    actual = order[dataset.labels(SPLIT)]
    evaluation = Evaluation.of(labels, actual, found.predictions)
    # The baseline asks for all probabilities and looks at the largest.
    probabilities = np.zeros((len(actual), len(labels)), np.float32)
    probabilities[np.arange(len(actual)), found.predictions] = found.scores
    return {
        "evaluation": evaluation,
        "metrics": {
            "accuracy": evaluation.accuracy,
            "images_per_second": round(found.figures.images_per_second or 0.0, 1),
        },
        "baseline": Baseline.of(probabilities, dataset.images(SPLIT)),
    }


def input_shape(archive: Path, path: Path, dataset: DataSet | None) -> Shape:
    """Height, width and channels that the model takes, by its own word or that of the data set."""
    config = read_member(archive, "config.json", path)
    declared = next(input_layers(config), None)
    if declared is not None and len(declared) != 4:
        raise ImportFailed(
            f"{path} takes inputs of the shape {tuple(declared)}, not images (N, H, W, C)."
        )
    match declared:
        case [_, int(height), int(width), int(channels)]:
            return height, width, channels
    if dataset is None:
        raise ImportFailed(
            f"{path} does not say what size of images it takes: name a --dataset of such images."
        )
    return dataset.description.shape


def input_layers(config: Any) -> Iterator[list[int | None]]:
    """The shapes, batch first, of all input layers in a Keras configuration."""
    if isinstance(config, list):
        for part in config:
            yield from input_layers(part)
    elif isinstance(config, dict):
        inner = config.get("config")
        if config.get("class_name") == "InputLayer" and isinstance(inner, dict):
            shape = inner.get("batch_shape")
            if isinstance(shape, list):
                yield shape
        for part in config.values():
            yield from input_layers(part)


def keras_version(archive: Path) -> dict[str, str]:
    """Which Keras wrote the file, if it says so."""
    version = read_member(archive, "metadata.json", archive).get("keras_version")
    return {"keras": version} if isinstance(version, str) else {}


def read_member(archive: Path, name: str, path: Path) -> dict[str, Any]:
    """One of the JSON objects in a `.keras` file."""
    try:
        with zipfile.ZipFile(archive) as members:
            if members.getinfo(name).file_size > CONFIG_BYTES_LIMIT:
                raise ImportFailed(f"{path} is refused: its {name} is too large.")
            content = json.loads(members.read(name))
    except (KeyError, ValueError, RecursionError, zipfile.BadZipFile, OSError):
        raise ImportFailed(f"{path} is refused: its {name} cannot be read.") from None
    if not isinstance(content, dict):
        raise ImportFailed(f"{path} is refused: its {name} is no JSON object.")
    return content
