"""The programs of the system as child processes, their output in one log."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

GRACE_SECONDS = 30.0
RESTART_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Program:
    name: str
    command: Sequence[str]


def celery_command(app: str, *arguments: str) -> list[str]:
    """A Celery command with this interpreter."""
    return [sys.executable, "-m", "celery", "-A", app, *arguments]


def worker_program(concurrency: int | None = None) -> Program:
    """The prediction worker: one child per core unless told otherwise."""
    options = ["-c", str(concurrency)] if concurrency else []
    command = celery_command("worker", "worker", "-n", "worker@%h", "-l", "INFO", *options)
    return Program(name="worker", command=command)


def trainer_program() -> Program:
    """The worker that runs queued trainings."""
    command = celery_command("trainer", "worker", "-n", "trainer@%h", "-l", "INFO")
    return Program(name="trainer", command=command)


def beat_program() -> Program:
    """The one that sends scheduled messages. There must be exactly one."""
    return Program(name="beat", command=celery_command("trainer", "beat", "-l", "INFO"))


def flower_program(port: int) -> Program:
    """The web page of workers and tasks, on loopback only."""
    options = ("--address=127.0.0.1", f"--port={port}")
    return Program(name="flower", command=celery_command("monitor.flower", "flower", *options))


def desk_program(port: int) -> Program:
    """The pages of jobs, models and data sets, on loopback only."""
    return Program(name="desk", command=[sys.executable, "-m", "desk", f"--port={port}"])


class Programs:
    """Running programs. Leaving the block stops them all, the last started first."""

    def __init__(self, environment: Mapping[str, str], write: Callable[[str, str], None]) -> None:
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self._write = write
        self._running: dict[str, tuple[Program, subprocess.Popen[str]]] = {}

    def __enter__(self) -> "Programs":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, program: Program) -> None:
        """Start a program in a session of its own, so that Ctrl-C reaches only this process."""
        process = subprocess.Popen(
            program.command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._running[program.name] = (program, process)
        threading.Thread(
            target=self._copy_output, args=(program.name, process), daemon=True
        ).start()

    def ended(self) -> dict[str, int]:
        """Exit codes of the programs that have ended by themselves."""
        codes = {name: process.poll() for name, (_, process) in self._running.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def keep_running(self) -> None:
        """Start again whatever ends, for ever."""
        while True:
            for name, code in self.ended().items():
                self._write(name, f"ended with exit code {code}; it is started again")
                program, _ = self._running.pop(name)
                time.sleep(RESTART_SECONDS)
                self.start(program)
            time.sleep(0.5)

    def stop(self) -> None:
        """Ask every program to finish what it does, and end those that do not in time."""
        for name, (_, process) in reversed(self._running.items()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self._write(name, f"has not stopped within {GRACE_SECONDS:.0f} s and is killed")
            _end_session(process.pid)
            process.wait()
        self._running.clear()

    def _copy_output(self, name: str, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._write(name, line.rstrip())


def _end_session(session: int) -> None:
    """Kill what a program left behind in its session."""
    try:
        os.killpg(session, signal.SIGKILL)
    except ProcessLookupError:
        return
