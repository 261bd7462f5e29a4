"""A model that was trained elsewhere as a version: a file and what its owner says of it.

Nobody but a clean process with limits opens the file; it writes an artefact that takes raw pixels
and gives probabilities. A worker's process then tests that as it tests any version.
"""

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from console.counts import counted
from evaluation.baseline import Baseline
from evaluation.confusion import Evaluation
from imaging.preprocessing import Preprocessing
from imaging.scalings import Scaling
from storage.class_names import Classes
from storage.datasets.store import DataSet
from storage.files import sha256_of
from storage.models.contract import Layout, Output
from storage.models.store import (
    FILE_OF,
    IMPORTED,
    MODEL_BYTES_LIMIT,
    Manifest,
    ModelStore,
    ModelVersion,
)
from trainer.datasets.class_folders import find_classes
from trainer.errors import ExaminationFailed, ImportFailed
from trainer.importing.check_images import MANY_PROBES, CheckImages, probes_of
from trainer.importing.conversions import Conversion, ConversionAnswer, ConversionRequest
from trainer.importing.model_files import find_obstacle
from trainer.limited_process import GRACE_SECONDS, ask
from trainer.promotion.examination_process import Examination, said_of_it
from trainer.promotion.gate import SPLIT, Gate, find_misfit
from trainer.runtimes.choice import choose_runtime
from trainer.runtimes.onnx_export import COPIES

log = logging.getLogger(__name__)

PROGRAM = "trainer.importing.convert"


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """What to publish, as what. What is none is found out, or assumed and said."""

    path: Path
    """The file, or the folder of a SavedModel."""
    name: str
    labels: tuple[str, ...] = ()
    """Names of the classes, in the order of the model's outputs."""
    preprocessing: Preprocessing | None = None
    scaling: Scaling | None = None
    size: tuple[int, int] | None = None
    """Height and width, where the model takes any."""
    layout: Layout | None = None
    output: Output | None = None
    check: Path | None = None
    """A folder with images in a folder for each class."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A published version and what its owner has to know of it."""

    version: ModelVersion
    notes: tuple[str, ...]
    """What was assumed and what looks odd, a sentence each."""


def import_model(
    request: ImportRequest, dataset: DataSet | None, models: ModelStore, gate: Gate
) -> Imported:
    """Publish a model file as the next version of a model; it does not become champion.

    With a data set it is tested on that; without one its accuracy stays unknown. Raises
    `ImportFailed`, or `Corrupt` for an archive that holds something else.
    """
    path = request.path
    if obstacle := find_obstacle(path):
        raise ImportFailed(obstacle)
    if bytes_of(path) > MODEL_BYTES_LIMIT:
        raise ImportFailed(f"{path} is larger than {MODEL_BYTES_LIMIT / 1e9:.0f} GB.")
    with models.draft(request.name) as draft:
        check = images_to_check(request.check, dataset)
        log.debug(loading(request, check))
        conversion = convert(request, check, draft, gate)
        manifest = describe(conversion, draft / FILE_OF[conversion.format], dataset)
        version, found = examine(
            models.drafted(request.name, draft, manifest), path, dataset, check, gate
        )
        manifest = version.manifest
        notes = list(conversion.notes)
        if dataset:
            manifest = manifest.model_copy(update=test_results(found, manifest, dataset))
            notes.extend(notes_on_dataset(conversion.preprocessing, dataset))
        return Imported(version=models.publish(request.name, draft, manifest), notes=tuple(notes))


def loading(request: ImportRequest, check: CheckImages | None) -> str:
    """What the process that loads the file is about to do."""
    tries = f" and trying it on {counted(len(check.classes), 'image')}" if check else ""
    return f"Loading {request.path}{tries} ..."


def convert(
    request: ImportRequest, check: CheckImages | None, draft: Path, gate: Gate
) -> Conversion:
    """Have the file converted in a process of its own; raises `ImportFailed`."""
    question = ConversionRequest(
        path=request.path.absolute(),
        folder=draft.absolute(),
        labels=request.labels,
        size=request.size,
        layout=request.layout,
        scaling=request.scaling,
        output=request.output,
        preprocessing=request.preprocessing,
        check=check,
        seconds=round(gate.thresholds.seconds + GRACE_SECONDS),
    )
    try:
        answer = ask(
            PROGRAM,
            question,
            ConversionAnswer,
            str(request.path),
            seconds=gate.thresholds.seconds,
            megabytes=gate.thresholds.megabytes + COPIES * bytes_of(request.path) / 1e6,
        )
    except ExaminationFailed as error:
        raise ImportFailed(f"{error}.".replace("..", ".")) from None
    if answer.conversion is None:
        # The process knows the file by its whole path.
        raise ImportFailed(answer.refusal.replace(str(question.path), str(request.path)))
    return answer.conversion


def images_to_check(folder: Path | None, dataset: DataSet | None) -> CheckImages | None:
    """Those of the folder, or the test images of the data set; raises `SourceError`."""
    if folder is not None:
        found = find_classes(folder)
        images = found.get(SPLIT) or found["train"]
        return CheckImages(
            name=f"{folder} (test)" if SPLIT in found else str(folder),
            classes=tuple(name for name, files in images.items() for _ in files),
            files=tuple(file.absolute() for files in images.values() for file in files),
        )
    if dataset is None or not dataset.description.splits.get(SPLIT):
        return None
    classes = dataset.description.classes
    return CheckImages(
        name=f"data set {dataset}",
        classes=tuple(classes[label] for label in dataset.labels(SPLIT)),
        array=dataset.images_path(SPLIT).absolute(),
    )


def bytes_of(path: Path) -> int:
    """Size of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def describe(conversion: Conversion, file: Path, dataset: DataSet | None) -> Manifest:
    """What is known of a model before it is examined."""
    nothing = np.empty(0, np.int32)
    framework, _, number = (conversion.framework or "").rpartition(" ")
    checked = {} if conversion.accuracy is None else {"check_accuracy": conversion.accuracy}
    return Manifest(
        network=IMPORTED,
        preset=None,
        dataset=dataset.name if dataset else None,
        dataset_number=dataset.number if dataset else 1,
        dataset_sha256=dataset.description.sha256 if dataset else None,
        seed=None,
        epochs=None,
        batch_size=None,
        labels=conversion.labels,
        input_shape=conversion.shape,
        preprocessing=conversion.preprocessing,
        format=conversion.format,
        contract=conversion.contract,
        evaluation=Evaluation.of(conversion.labels, nothing, nothing),
        metrics=checked,
        versions={framework: number} if framework else {},
        sha256=sha256_of(file),
        created_at=datetime.now(UTC),
    )


def examine(
    draft: ModelVersion,
    path: Path,
    dataset: DataSet | None,
    check: CheckImages | None,
    gate: Gate,
) -> tuple[ModelVersion, Examination]:
    """Examine a draft for the first time, and choose its runtime; raises `ImportFailed`.

    Without a data set it is given some of the images that it was tried on, or patterns.
    """
    if dataset and (problem := find_misfit(draft, dataset)):
        raise ImportFailed(f"{path} is not published: {problem.replace(f'{draft} ', 'it ', 1)}.")
    try:
        if dataset:
            return choose_runtime(draft, dataset.images_path(SPLIT), gate)
        with tempfile.TemporaryDirectory(prefix="batchsight-") as folder:
            images = Path(folder, "images.npy")
            contract = draft.manifest.input_shape, draft.manifest.preprocessing
            np.save(images, probes_of(check, *contract, MANY_PROBES))
            return choose_runtime(draft, images, gate)
    except ExaminationFailed as error:
        raise ImportFailed(f"{path} is not published: {said_of_it(error, draft)}.") from None


def notes_on_dataset(chosen: Preprocessing, dataset: DataSet) -> Iterator[str]:
    """A word if the images that it was tested on came to their size otherwise than jobs' will."""
    if not dataset.description.origin.startswith("folder:"):
        return
    tested = dataset.description.preprocessing
    if tested.interpolation != chosen.interpolation or tested.resize != chosen.resize:
        yield (
            f"It was tested on pictures that {dataset} brought to its size by {tested.resize}, "
            f"{tested.interpolation}; what it is given comes to it by {chosen.resize}, "
            f"{chosen.interpolation}, as those of `trainer data add --resize {chosen.resize} "
            f"--interpolation {chosen.interpolation}` do."
        )


def test_results(found: Examination, manifest: Manifest, dataset: DataSet) -> dict[str, Any]:
    """What is known of a model once it was tested, as fields of its manifest."""
    labels = manifest.labels
    position = Classes(labels)
    order = np.array([position[label] for label in dataset.description.classes])
    actual = order[dataset.labels(SPLIT)]
    evaluation = Evaluation.of(labels, actual, found.predictions)
    return {
        "evaluation": evaluation,
        "metrics": {**manifest.metrics, "accuracy": evaluation.accuracy},
        "baseline": Baseline.of(found.probabilities, dataset.images(SPLIT)),
    }
