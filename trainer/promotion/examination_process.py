"""Have versions examined by a clean worker process that must not take too long or too much."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from storage.models.examination_messages import (
    ExaminationAnswer,
    ExaminationRequest,
    Metrics,
    Timing,
    TimingAnswer,
    TimingRequest,
)
from storage.models.store import ModelVersion
from trainer.errors import ExaminationFailed, Unusable

PROGRAMS = Path(__file__).parents[2]
"""Where `worker` lies beside `trainer`."""
PROGRAM_OF = {
    ExaminationAnswer: "worker.examination",
    TimingAnswer: "worker.examination.timing",
}
LOOK_SECONDS = 0.05
GRACE_SECONDS = 30

Answer = TypeVar("Answer", ExaminationAnswer, TimingAnswer)


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What a version answered and what that cost."""

    predictions: NDArray[np.int32]
    """Class indices (N,), those of the version's own labels."""
    scores: NDArray[np.float32]
    """Their probabilities (N,)."""
    metrics: Metrics
    rows: NDArray[np.int64] | None = None
    """Which images (n,) were tried in other scales, if any."""
    trials: NDArray[np.int32] | None = None
    """What it answered then, (k, n)."""


def examine(
    version: ModelVersion,
    images: Path | None,
    *,
    seconds: float,
    megabytes: float,
    trials: bool = False,
) -> Examination:
    """Load the version as a worker does and classify a `.npy` file of uint8 (N, H, W, C).

    Raises `Unusable` with the reason when a worker refuses it, and `ExaminationFailed` when the
    process died, or was killed because it took longer than `seconds` or more than `megabytes` of
    resident memory. With `trials` some of the images are tried in other scales too.
    """
    with tempfile.TemporaryDirectory(prefix="batchsight-") as folder:
        answers = Path(folder, "answers.npz")
        request = ExaminationRequest.of(
            version, images, answers, round(seconds + GRACE_SECONDS), trials=trials
        )
        answer = _ask(ExaminationAnswer, request, str(version), Path(folder), seconds, megabytes)
        if answer.metrics is None:
            raise Unusable(answer.refusal, answer.remedy)
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
    with tempfile.TemporaryDirectory(prefix="batchsight-") as folder:
        answer = _ask(TimingAnswer, request, names, Path(folder), seconds, megabytes)
    if answer.refusal:
        raise Unusable(answer.refusal)
    return answer.timings


def _ask(
    form: type[Answer],
    request: BaseModel,
    asked: str,
    folder: Path,
    seconds: float,
    megabytes: float,
) -> Answer:
    """Run the process that gives such answers about `asked` to its end, or kill it."""
    question, answer, log = (folder / name for name in ("request", "answer", "log"))
    question.write_text(request.model_dump_json())
    with question.open("rb") as stdin, answer.open("wb") as stdout, log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", PROGRAM_OF[form]],
            cwd=PROGRAMS,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            _watch(process, asked, seconds=seconds, megabytes=megabytes)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    try:
        return form.model_validate_json(answer.read_bytes())
    except ValidationError:
        lines = log.read_text(errors="replace").strip().splitlines() or ["it left no word"]
        raise ExaminationFailed(
            f"{asked} ended the process that examined it "
            f"(exit code {process.returncode}): {lines[-1][:300]}"
        ) from None


def _watch(
    process: "subprocess.Popen[bytes]", version: str, *, seconds: float, megabytes: float
) -> None:
    """Wait for the end; raises `ExaminationFailed` when a limit is passed."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            process.wait(LOOK_SECONDS)
            return
        except subprocess.TimeoutExpired:
            pass
        if time.monotonic() > deadline:
            raise ExaminationFailed(
                f"{version} was not examined within {seconds:g} s (BATCHSIGHT_GATE_SECONDS)"
            )
        if resident_memory(process.pid) > megabytes * 1e6:
            raise ExaminationFailed(
                f"{version} took more than {megabytes:g} MB of memory (BATCHSIGHT_GATE_MEGABYTES)"
            )


def resident_memory(pid: int) -> int:
    """Resident memory of a process in bytes; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    resident = status.partition("VmRSS:")[2].split()
    return 1024 * int(resident[0]) if resident else 0
