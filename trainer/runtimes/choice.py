"""Which runtime a version is used with: the faster one of two that give the same answers.

Both are examined by clean worker processes, as a worker's child uses them. ONNX Runtime is taken
unless TensorFlow is clearly faster, since it loads sooner and needs less memory.
"""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

from console.counts import counted
from evaluation.agreement import FEW_IMAGES, Agreement
from storage.files import sha256_of
from storage.models.metrics import Metrics
from storage.models.runtime_choice import RuntimeChoice
from storage.models.store import ONNX_FILE, ModelVersion
from trainer.errors import ExaminationFailed, as_clause
from trainer.promotion.examination_process import Examination, said_of_it
from trainer.promotion.gate import Gate
from trainer.runtimes.onnx_export import export_onnx

log = logging.getLogger(__name__)

CLEARLY = 1.1
"""So many times as fast: less may be due to a busy machine."""


def choose_runtime(
    draft: ModelVersion, images: Path, gate: Gate
) -> tuple[ModelVersion, Examination]:
    """A version about to be published with its runtime chosen, and its answers in that.

    `model.onnx` is added to a Keras model, and remains if it gives the same answers. Raises
    `ExaminationFailed` when the version cannot be used as it was made; whatever is wrong with its
    export is a reason not to choose that.
    """
    log.debug("Examining %s ...", draft)
    made = gate.examine(draft, images)
    if draft.manifest.format == "onnx":
        choice = RuntimeChoice(
            runtime="onnx", reason="it was imported as ONNX", metrics={"onnx": made.metrics}
        )
        return decided(draft, choice), made
    alone = partial(RuntimeChoice, runtime="tensorflow", metrics={"tensorflow": made.metrics})
    log.debug("Exporting %s to ONNX, and examining that ...", draft)
    try:
        export, answers = exported(draft, images, gate)
    except ExaminationFailed as error:
        choice = alone(reason=f"its export to ONNX fails: {as_clause(error)}")
    else:
        agreement = Agreement.of(answers.probabilities, made.probabilities)
        if agreement.holds:
            choice = faster(answers.metrics, made.metrics, agreement)
            return decided(export, choice), answers if choice.runtime == "onnx" else made
        choice = alone(reason=disagreement(agreement), agreement=agreement)
    (draft.folder / ONNX_FILE).unlink(missing_ok=True)
    log.info("%s is used with TensorFlow alone: %s.", draft, choice.reason)
    return decided(draft, choice), made


def exported(draft: ModelVersion, images: Path, gate: Gate) -> tuple[ModelVersion, Examination]:
    """The version as ONNX, and its answers as such; raises `ExaminationFailed`."""
    manifest = draft.manifest
    export_onnx(
        draft.folder,
        manifest.input_shape,
        seconds=gate.thresholds.seconds,
        megabytes=gate.thresholds.megabytes,
    )
    digest = {"onnx_sha256": sha256_of(draft.folder / ONNX_FILE)}
    export = replace(draft, manifest=manifest.model_copy(update=digest)).on("onnx")
    try:
        return export, gate.examine(export, images)
    except ExaminationFailed as error:
        raise ExaminationFailed(said_of_it(error, export)) from None


def decided(version: ModelVersion, choice: RuntimeChoice) -> ModelVersion:
    """A version that is used as was chosen."""
    manifest = version.manifest.model_copy(update={"runtime": choice})
    return replace(version, manifest=manifest, told=None)


def faster(onnx: Metrics, tensorflow: Metrics, agreement: Agreement) -> RuntimeChoice:
    """The choice between two that agree."""
    ratio = onnx.images_per_second / tensorflow.images_per_second
    if ratio * CLEARLY < 1:
        reason = f"{1 / ratio:.1f} times as fast as ONNX Runtime"
    elif ratio < CLEARLY:
        reason = "as fast as TensorFlow, and needs less time to load and less memory"
    else:
        reason = f"{ratio:.1f} times as fast as TensorFlow"
    return RuntimeChoice(
        runtime="tensorflow" if ratio * CLEARLY < 1 else "onnx",
        reason=reason,
        metrics={"onnx": onnx, "tensorflow": tensorflow},
        agreement=agreement,
    )


def disagreement(agreement: Agreement) -> str:
    """What is wrong with an export that gives other answers, or may do so."""
    apart = f"with probabilities up to {agreement.difference:.2g} apart"
    images = f"{counted(agreement.images, 'image')}, {apart}"
    found = f"other answers for {agreement.differing:,} of {images}"
    if agreement.is_close:
        found = f"the same answers for only {images}, so that others may differ"
    way_out = ": with --dataset its test images decide" if agreement.images < FEW_IMAGES else ""
    return f"its export to ONNX gives {found}{way_out}"
