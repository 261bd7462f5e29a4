"""Have versions examined by a clean worker process that must not take too long or too much."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storage.models.examination_messages import (
    ExaminationAnswer,
    ExaminationRequest,
    Metrics,
    Timing,
    TimingAnswer,
    TimingRequest,
)
from storage.models.store import ModelVersion
from trainer.errors import Unusable
from trainer.limited_process import GRACE_SECONDS, ask


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What a version answered and what that cost."""

    predictions: NDArray[np.int32]
    """Class indices (N,), those of the version's own labels."""
    scores: NDArray[np.float32]
    """Their probabilities (N,)."""
    metrics: Metrics


def examine(
    version: ModelVersion,
    images: Path | None,
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
        answers = Path(folder, "answers.npz")
        request = ExaminationRequest.of(version, images, answers, round(seconds + GRACE_SECONDS))
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
        if images is None:
            nothing = np.empty(0, np.int32)
            return Examination(
                predictions=nothing, scores=nothing.astype(np.float32), metrics=answer.metrics
            )
        with np.load(answers, allow_pickle=False) as arrays:
            return Examination(**arrays, metrics=answer.metrics)


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
