"""A model that was trained elsewhere as a version: a `.keras` file and the names of its classes.

The file is taken as it is, byte for byte. It is loaded only by a clean worker process with limits,
and only if it holds nothing but what Keras writes.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.baseline import Baseline
from evaluation.confusion import Evaluation
from imaging.preprocessing import Preprocessing
from storage.class_names import Classes
from storage.datasets.store import DataSet
from storage.files import sha256_of
from storage.models.architecture import Architecture
from storage.models.store import (
    IMPORTED,
    MODEL_BYTES_LIMIT,
    MODEL_FILE,
    Manifest,
    ModelStore,
    ModelVersion,
    check_archive,
)
from trainer.errors import ExaminationFailed, ImportFailed, Unusable
from trainer.models.input_shapes import input_shape
from trainer.models.model_files import find_obstacle
from trainer.models.repair_scripts import rebuild
from trainer.models.trials import another_scale_fits, find_better_fit
from trainer.promotion.examination_process import Examination
from trainer.promotion.gate import SPLIT, Gate, find_misfit

AS_KERAS = Preprocessing(interpolation="bilinear")
"""How pictures come to a model's size where Keras reads them, unless told otherwise."""
NO_SCALE = (
    "Nothing at its start scales pixels, and it is given 0 to 255: if it was trained on 0 to 1, "
    "say, put a keras.layers.Rescaling(1 / 255) before it."
)
NEAR_GUESSING = 3.0
"""An accuracy that is less than so many times that of guessing is worth a word."""


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    path: Path
    """The `.keras` file."""
    name: str
    labels: tuple[str, ...]
    """Names of the classes, in the order of the model's outputs."""
    preprocessing: Preprocessing | None = None
    """None is as Keras does, and is said."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A published version and what its owner has to know of it."""

    version: ModelVersion
    notes: tuple[str, ...]
    """What was assumed and what looks odd, a sentence each."""


def import_model(
    request: ImportRequest, dataset: DataSet | None, models: ModelStore, gate: Gate
) -> Imported:
    """Publish a `.keras` file as the next version of a model; it does not become champion.

    It must take uint8 pixels (N, H, W, C), 0 to 255, and give one probability per label. With a
    data set it is tested on that; without one its accuracy stays unknown. Raises `ImportFailed`,
    or `Corrupt` for an archive that holds something else.
    """
    path = request.path
    if obstacle := find_obstacle(path):
        raise ImportFailed(obstacle)
    if path.stat().st_size > MODEL_BYTES_LIMIT:
        raise ImportFailed(f"{path} is larger than {MODEL_BYTES_LIMIT / 1e9:.0f} GB.")
    with models.draft(request.name) as draft:
        shutil.copyfile(path, draft / MODEL_FILE)
        check_archive(draft / MODEL_FILE, str(path))
        architecture = Architecture.read(draft / MODEL_FILE, str(path))
        manifest = describe(request, architecture, draft / MODEL_FILE, dataset)
        check_outputs(architecture, request, manifest)
        number = max(models.numbers(request.name), default=0) + 1
        version = ModelVersion(name=request.name, number=number, folder=draft, manifest=manifest)
        found = examine(version, path, dataset, gate)
        notes = list(notes_on(request, dataset))
        if not architecture.scales and (
            dataset is None or another_scale_fits(manifest.labels, dataset, found)
        ):
            notes.append(NO_SCALE)
        manifest = manifest.model_copy(update={"metrics": speed(found)})
        if dataset:
            if better := find_better_fit(manifest.labels, dataset, found):
                told = better.tell(path, manifest.input_shape)
                if better.sure:
                    raise ImportFailed(f"{path} is not published: {told}")
                notes.append(f"It may not be as it should: {told}")
            manifest = manifest.model_copy(update=test_results(found, manifest, dataset))
            notes.extend(notes_on_accuracy(manifest.evaluation))
        return Imported(version=models.publish(request.name, draft, manifest), notes=tuple(notes))


def describe(
    request: ImportRequest, architecture: Architecture, file: Path, dataset: DataSet | None
) -> Manifest:
    """What is known of a model before it is examined."""
    nothing = np.empty(0, np.int32)
    return Manifest(
        network=IMPORTED,
        preset=None,
        dataset=dataset.name if dataset else None,
        dataset_number=dataset.number if dataset else 1,
        dataset_sha256=dataset.description.sha256 if dataset else None,
        seed=None,
        epochs=None,
        batch_size=None,
        labels=request.labels,
        input_shape=input_shape(architecture, request.path, dataset),
        preprocessing=request.preprocessing or AS_KERAS,
        evaluation=Evaluation.of(request.labels, nothing, nothing),
        metrics={},
        versions={"keras": architecture.keras} if architecture.keras else {},
        sha256=sha256_of(file),
        created_at=datetime.now(UTC),
    )


def check_outputs(architecture: Architecture, request: ImportRequest, manifest: Manifest) -> None:
    """Raise `ImportFailed` for a network with several outputs, with how to keep the right one."""
    outputs = architecture.outputs
    if len(outputs) < 2:
        return
    classes = len(request.labels)
    fitting = [key for key, layer in outputs.items() if architecture.units(layer) == classes]
    key = next(iter(fitting or outputs))
    names = ", ".join(outputs.values())
    raise ImportFailed(
        f"{request.path} has {len(outputs)} outputs ({names}), and only the probabilities of the "
        f"classes are needed. Keep those, {outputs[key]} it seems:"
        + rebuild(request.path, manifest.input_shape, [f"answer = model(pixels)[{key!r}]"])
    )


def examine(version: ModelVersion, path: Path, dataset: DataSet | None, gate: Gate) -> Examination:
    """Have the draft of a version examined for the first time; raises `ImportFailed`."""
    if dataset and (problem := find_misfit(version, dataset)):
        raise ImportFailed(f"{path} is not published: {problem.replace(f'{version} ', 'it ', 1)}.")
    try:
        return gate.examine(version, dataset.images_path(SPLIT) if dataset else None, trials=True)
    except ExaminationFailed as error:
        reason = str(error).removesuffix(".") + "."
        for subject in (f"The model {version.model_path}", str(version.model_path), str(version)):
            reason = reason.replace(subject, "it")
        remedy = ""
        if isinstance(error, Unusable) and error.remedy:
            shape = version.manifest.input_shape
            remedy = " This fixes it:" + rebuild(path, shape, error.remedy)
        raise ImportFailed(f"{path} is not published: {reason}{remedy}") from None


def notes_on(request: ImportRequest, dataset: DataSet | None) -> Iterator[str]:
    """What is assumed of a model without anybody having said so."""
    chosen = request.preprocessing or AS_KERAS
    only_background = bool(chosen.background) and chosen == AS_KERAS.model_copy(
        update={"background": chosen.background}
    )
    if request.preprocessing is None or only_background:
        options = ["--resize", "--interpolation"]
        dropped = ""
        if not only_background:
            dropped = ", and their transparency is dropped"
            options.append("--background")
        yield (
            f"Pictures of another size come to its size by {AS_KERAS.resize}, "
            f"{AS_KERAS.interpolation}, as Keras does{dropped}: {', '.join(options[:-1])} and "
            f"{options[-1]} change that."
        )
    if dataset and dataset.description.origin.startswith("folder:"):
        tested = dataset.description.preprocessing.interpolation
        if tested != chosen.interpolation:
            yield (
                f"It was tested on pictures that {dataset} brought to its size by {tested}; "
                f"what it is given comes to it by {chosen.interpolation}, as those of `trainer "
                f"data add --interpolation {chosen.interpolation}` do."
            )
    if all(re.match(rf"{i}[\s,:;]", label) for i, label in enumerate(request.labels)):
        yield f"Its labels begin with their numbers: the first is {request.labels[0]!r}."


def notes_on_accuracy(evaluation: Evaluation) -> Iterator[str]:
    """A warning if a model is hardly better than one that always names the same class."""
    count, guess = evaluation.count, int(evaluation.matrix.sum(axis=1).max())
    accuracy = evaluation.accuracy
    if count and accuracy is not None and accuracy < min(NEAR_GUESSING * guess / count, 0.5):
        yield f"Its accuracy of {accuracy:.4f} is near that of guessing, {guess / count:.4f}."


def speed(found: Examination) -> dict[str, float]:
    """Images per second, as a metric."""
    return {"images_per_second": round(found.metrics.images_per_second, 1)}


def test_results(found: Examination, manifest: Manifest, dataset: DataSet) -> dict[str, Any]:
    """What is known of a model once it was tested, as fields of its manifest."""
    labels = manifest.labels
    position = Classes(labels)
    order = np.array([position[label] for label in dataset.description.classes])
    actual = order[dataset.labels(SPLIT)]
    evaluation = Evaluation.of(labels, actual, found.predictions)
    # The baseline asks for all probabilities and looks at the largest.
    probabilities = np.zeros((len(actual), len(labels)), np.float32)
    probabilities[np.arange(len(actual)), found.predictions] = found.scores
    return {
        "evaluation": evaluation,
        "metrics": {"accuracy": evaluation.accuracy, **speed(found)},
        "baseline": Baseline.of(probabilities, dataset.images(SPLIT)),
    }
