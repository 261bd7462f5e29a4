"""The real programs as processes that tests start, kill and stop."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import redis

from local.redis_server import choose_port, find_redis_server, is_listening

REPOSITORY = Path(__file__).parent.parent


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Return when the condition holds; fail the test with `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"Waited {seconds:.0f} s in vain: {what}.")


class RedisServer:
    """A real Redis on a free loopback port with its data in a folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = choose_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> "redis.Redis":
        return redis.Redis.from_url(self.url, decode_responses=True)

    def start(self) -> None:
        command = [
            find_redis_server(),
            *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)),
            *("--save", "", "--loglevel", "warning"),
            *self._options,
        ]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(lambda: is_listening(self.port), "Redis listens", 15)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(15)


class Program:
    """One program of the system, its output in a file."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = {**os.environ, **environment}
        self.log_path = log
        self.start()

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def children(self) -> list[int]:
        """Process ids of the pool's children, oldest first."""
        return [child.pid for child in psutil.Process(self.pid).children()]

    def wait_for_log(self, text: str, times: int = 1, seconds: float = 90.0) -> None:
        wait_for(
            lambda: self.log.count(text) >= times or not self.running,
            f"{text!r} {times} times in {self.log_path}",
            seconds,
        )
        assert self.log.count(text) >= times, f"{self._command} ended:\n{self.log[-3000:]}"

    def kill(self) -> None:
        """SIGKILL the program and all its children, as a dying machine does."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def terminate(self, seconds: float = 40.0) -> int:
        """SIGTERM the program alone; returns its exit code."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(seconds)
        self.kill()
        return code


def worker(
    folder: Path,
    environment: Mapping[str, str],
    *,
    app: str = "worker",
    name: str = "worker",
    concurrency: int = 2,
    python: str = sys.executable,
) -> Program:
    """A prediction worker; `wait_for_log("Ready with", concurrency)` waits for its children."""
    command = [python, "-m", "celery", "-A", app, "worker", "-l", "INFO"]
    command += ["-n", f"{name}@%h", "-c", str(concurrency)]
    return Program(command, folder / f"{name}.log", environment)


def start(environment: Mapping[str, str], *command: str) -> "subprocess.Popen[str]":
    """Start `producer ...` or `trainer ...` as users do, for a test that goes on beside it.

    Not by `python -m`: that ends with another exit code when Ctrl-C falls into certain imports.
    """
    name, *arguments = command
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name(name)), *arguments],
        env={**os.environ, **environment},
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _started.append(process)
    return process


_started: "list[subprocess.Popen[str]]" = []


def end_started() -> None:
    """Kill whatever a test has started and left running."""
    while _started:
        with _started.pop() as process:  # closes its pipes: a warning would hit another test
            process.kill()


def run(
    environment: Mapping[str, str], *command: str, check: bool = True, seconds: float = 240.0
) -> "subprocess.CompletedProcess[str]":
    """Run `producer ...` or `trainer ...` to its end."""
    module, *arguments = command
    done = subprocess.run(
        [sys.executable, "-m", f"{module}.cli", *arguments],
        env={**os.environ, **environment},
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if check:
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after running some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules, file=sys.stderr)"],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())
