"""A system that is started as the README says, and a look for what a program leaves behind."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest

from local.redis_server import choose_port
from tests.acceptance.documents import HOME, README, REFERENCE, Document, agrees
from tests.processes import REPOSITORY, Program, RedisServer, wait_for


def user_environment(**variables: str) -> dict[str, str]:
    """This environment without any setting of batchsight, with the commands on the path."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("BATCHSIGHT_")}
    commands = f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"
    return {**inherited, "PATH": commands, "NO_COLOR": "1", **variables}


def processes_of(folder: Path) -> list[psutil.Process]:
    """The processes that work in or below a folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            told = [*process.cmdline(), process.environ().get("BATCHSIGHT_STORAGE", "")]
            if any(str(folder) in text for text in [*told, process.cwd()]):
                found.append(process)
    return found


@dataclass(frozen=True, kw_only=True)
class Home:
    """Where a reader works: a folder, and a system that runs or that the reader starts."""

    folder: Path
    environment: Mapping[str, str]
    ports: Mapping[str, int] = field(default_factory=dict)
    """The free port that stands for one that documents name."""

    @property
    def storage(self) -> Path:
        return self.folder / ".batchsight"

    def shell(self, command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command line as the user does; stdout holds both outputs, as on a terminal."""
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=200,
            check=False,
        )

    def differences(self, document: Document) -> list[str]:
        """Run all that a document shows, in order; tell where something else comes of it."""
        found = []
        for step in document.steps():
            command = step.command
            for documented, real in self.ports.items():
                command = re.sub(rf"\b{documented}\b", str(real), command)
            done = self.shell(command)
            said, printed = "\n".join(step.prints), self.as_documented(done.stdout)
            if done.returncode != step.exit_code or not agrees(said, printed):
                found.append(
                    f"{step.place} $ {step.command}\n"
                    f"--- it says, exit code {step.exit_code}\n{said}\n"
                    f"--- it prints, exit code {done.returncode}\n{printed}"
                )
        return found

    def as_documented(self, printed: str) -> str:
        """What was printed, with the folder and the ports of the documents."""
        for folder, documented in ((self.storage.resolve(), "/.batchsight"), (self.folder, "")):
            printed = printed.replace(str(folder), HOME + documented)
        for port, real in self.ports.items():
            printed = re.sub(rf"\b{real}\b", port, printed)
        return printed


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """The system of the README's section `By hand`."""
    folder = tmp_path_factory.mktemp("home")
    logs = tmp_path_factory.mktemp("logs")
    shutil.copytree(REPOSITORY / "examples", folder / "examples")
    redis_command, *programs = map(shlex.split, README.started_by_hand())
    server = RedisServer(logs / "redis", *redis_command[1:])
    environment = user_environment(BATCHSIGHT_REDIS_URL=server.url)
    running: list[Program] = []
    try:
        for number, (name, *arguments) in enumerate(programs):
            assert name == "celery"
            running.append(
                Program(
                    [sys.executable, "-m", "celery", *arguments],
                    logs / f"{number}.log",
                    {**environment, "BATCHSIGHT_STORAGE": str(folder / ".batchsight")},
                )
            )
        running[0].wait_for_log("Ready with")
        yield Home(folder=folder, environment=environment)
        assert [program.terminate() for program in running] == [0] * len(running)
    finally:
        for program in running:
            program.kill()
        server.stop()


@pytest.fixture(scope="session")
def readme_differences(home: Home) -> list[str]:
    """The commands of README and reference, in order, and where they print something else."""
    return [found for page in (README, *REFERENCE) for found in home.differences(page)]


@pytest.fixture
def other_home(home: Home, readme_differences: list[str], tmp_path: Path) -> Home:
    """An empty folder for another reader, at the system that the README has left behind."""
    (tmp_path / ".batchsight").symlink_to(home.storage)
    shutil.copytree(REPOSITORY / "examples", tmp_path / "examples")
    return replace(home, folder=tmp_path)


@pytest.fixture
def bare_home(tmp_path: Path) -> Iterator[Home]:
    """An empty folder where nothing runs yet, and what starts there is gone in the end."""
    ports = {name: choose_port() for name in ("6379", "5555", "9108")}
    environment = user_environment(
        BATCHSIGHT_REDIS_URL=f"redis://127.0.0.1:{ports['6379']}/0",
        BATCHSIGHT_FLOWER_URL=f"http://127.0.0.1:{ports['5555']}",
        BATCHSIGHT_METRICS_PORT=str(ports["9108"]),
        BATCHSIGHT_LEASE_SECONDS="4",
        BATCHSIGHT_SWEEP_SECONDS="2",
    )
    try:
        yield Home(folder=tmp_path, environment=environment, ports=ports)
        wait_for(lambda: processes_of(tmp_path) == [], "nothing is left running", 20)
    finally:
        for process in processes_of(tmp_path):
            with suppress(psutil.Error):
                process.kill()
