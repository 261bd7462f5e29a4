"""Have a version examined by a clean worker process that must not take too long or too much."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from storage.examinations import ExaminationAnswer, ExaminationRequest, Figures
from storage.models import ModelVersion
from trainer.errors import ExaminationFailed, Unusable

PROGRAMS = Path(__file__).parent.parent
"""Where `worker` lies beside `trainer`."""
LOOK_SECONDS = 0.05
GRACE_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What a version answered and what that cost."""

    predictions: NDArray[np.int32]
    """Class indices (N,), those of the version's own labels."""
    scores: NDArray[np.float32]
    """Their probabilities (N,)."""
    figures: Figures


def examine(
    version: ModelVersion, images: Path | None, *, seconds: float, megabytes: float
) -> Examination:
    """Load the version as a worker does and classify a `.npy` file of uint8 (N, H, W, C).

    Raises `Unusable` with the reason when a worker refuses it, and `ExaminationFailed` when the
    process died, or was killed because it took longer than `seconds` or more than `megabytes` of
    resident memory.
    """
    with tempfile.TemporaryDirectory(prefix="batchsight-") as folder:
        answers = Path(folder, "answers.npz")
        request = ExaminationRequest.of(version, images, answers, round(seconds + GRACE_SECONDS))
        answer = _ask(request, Path(folder), seconds=seconds, megabytes=megabytes)
        if answer.figures is None:
            raise Unusable(answer.refusal)
        if images is None:
            nothing = np.empty(0, np.int32)
            return Examination(
                predictions=nothing, scores=nothing.astype(np.float32), figures=answer.figures
            )
        with np.load(answers, allow_pickle=False) as arrays:
            return Examination(**arrays, figures=answer.figures)


def _ask(
    request: ExaminationRequest, folder: Path, *, seconds: float, megabytes: float
) -> ExaminationAnswer:
    """Run the process to its end, or kill it."""
    question, answer, log = (folder / name for name in ("request", "answer", "log"))
    question.write_text(request.model_dump_json())
    with question.open("rb") as stdin, answer.open("wb") as stdout, log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker.examine"],
            cwd=PROGRAMS,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            _watch(process, str(request.version), seconds=seconds, megabytes=megabytes)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    try:
        return ExaminationAnswer.model_validate_json(answer.read_bytes())
    except ValidationError:
        lines = log.read_text(errors="replace").strip().splitlines() or ["it left no word"]
        raise ExaminationFailed(
            f"{request.version} ended the process that examined it "
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
