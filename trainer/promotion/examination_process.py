"""Have versions examined by a clean worker process that must not take too long or too much."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.ranking import Probabilities
from storage.models.examination_messages import (
    ExaminationAnswer,
    ExaminationRequest,
    Timing,
    TimingAnswer,
    TimingRequest,
)
from storage.models.metrics import Metrics
from storage.models.store import ModelVersion
from trainer.errors import ExaminationFailed, Unusable
from trainer.limited_process import GRACE_SECONDS, ask


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What a version answered and what that cost."""

    probabilities: Probabilities
    """Of its own labels (N, classes)."""
    metrics: Metrics

    @property
    def predictions(self) -> NDArray[np.integer]:
        """Class indices (N,)."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def scores(self) -> NDArray[np.float32]:
        """Their probabilities (N,)."""
        return np.asarray(self.probabilities.max(axis=1))


def examine(
    version: ModelVersion,
    images: Path,
    *,
    seconds: float,
    megabytes: float,
) -> Examination:
    """Load the version as a worker does and classify a `.npy` file of uint8 (N, H, W, C).

    Raises `Unusable` with the reason when a worker refuses it, and `ExaminationFailed` when the
    process died, or was killed because it took longer than `seconds` or more than `megabytes` of
    resident memory.
    """
    with tempfile.TemporaryDirectory(prefix="batchsight-") as folder:
        answers = Path(folder, "answers.npy")
        request = ExaminationRequest(
            version=version, images=images, answers=answers, seconds=round(seconds + GRACE_SECONDS)
        )
        answer = ask(
            "worker.examination",
            request,
            ExaminationAnswer,
            str(version),
            seconds=seconds,
            megabytes=megabytes,
        )
        if answer.metrics is None:
            raise Unusable(answer.refusal)
        probabilities = np.load(answers, allow_pickle=False)
        return Examination(probabilities=probabilities, metrics=answer.metrics)


def said_of_it(error: ExaminationFailed, version: ModelVersion) -> str:
    """What is wrong with a version that is not published yet: its name and folder tell nothing."""
    said = str(error)
    for subject in (f"The model {version.model_path}", str(version.model_path), str(version)):
        said = said.replace(subject, "it")
    return said.removesuffix(".")


def measure_in_turns(
    versions: Sequence[ModelVersion], images: Path, *, seconds: float, megabytes: float
) -> tuple[Timing, ...]:
    """Time one image, the first of a `.npy` file, with versions that all take such images.

    Raises as `examine` does; the limits are for each version.
    """
    names = " beside ".join(map(str, versions))
    seconds, megabytes = seconds * len(versions), megabytes * len(versions)
    request = TimingRequest(
        versions=tuple(versions), images=images, seconds=round(seconds + GRACE_SECONDS)
    )
    answer = ask(
        "worker.examination.timing",
        request,
        TimingAnswer,
        names,
        seconds=seconds,
        megabytes=megabytes,
    )
    if answer.refusal:
        raise Unusable(answer.refusal)
    return answer.timings
