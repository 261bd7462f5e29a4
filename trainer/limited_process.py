"""A clean process that must not take too long or too much: who opens foreign files lives there."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from trainer.errors import ExaminationFailed

PROGRAMS = Path(__file__).parents[1]
"""Where the programs lie beside each other."""
LOOK_SECONDS = 0.05
GRACE_SECONDS = 30
"""So much later than its limit a process ends itself, should nobody be left to do it."""

Answer = TypeVar("Answer", bound=BaseModel)


def ask(
    program: str,
    request: BaseModel,
    form: type[Answer],
    subject: str,
    *,
    seconds: float,
    megabytes: float,
) -> Answer:
    """Run `python -m program`, give it the request as JSON and read its answer of such a form.

    Raises `ExaminationFailed` with what it was about when the process died, or was killed because
    it took longer than `seconds` or more than `megabytes` of resident memory.
    """
    with tempfile.TemporaryDirectory(prefix="batchsight-") as folder:
        question, answer, log = (Path(folder, name) for name in ("request", "answer", "log"))
        question.write_text(request.model_dump_json())
        with question.open("rb") as stdin, answer.open("wb") as stdout, log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", program],
                cwd=PROGRAMS,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
            try:
                _watch(process, subject, seconds=seconds, megabytes=megabytes)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        try:
            return form.model_validate_json(answer.read_bytes())
        except ValidationError:
            lines = log.read_text(errors="replace").strip().splitlines() or ["it left no word"]
            raise ExaminationFailed(
                f"{subject} ended the process that examined it "
                f"(exit code {process.returncode}): {lines[-1][:300]}"
            ) from None


def _watch(
    process: "subprocess.Popen[bytes]", subject: str, *, seconds: float, megabytes: float
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
                f"{subject} was not examined within {seconds:g} s (BATCHSIGHT_GATE_SECONDS)"
            )
        if resident_memory(process.pid) > megabytes * 1e6:
            raise ExaminationFailed(
                f"{subject} took more than {megabytes:g} MB of memory (BATCHSIGHT_GATE_MEGABYTES)"
            )


def resident_memory(pid: int) -> int:
    """Resident memory of a process in bytes; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    resident = status.partition("VmRSS:")[2].split()
    return 1024 * int(resident[0]) if resident else 0
