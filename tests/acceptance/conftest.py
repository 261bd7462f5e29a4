"""A system that is started as the README says, and a look for what a program leaves behind."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.acceptance.readme import HOME, started_by_hand, steps
from tests.processes import REPOSITORY, Program, RedisServer


def user_environment(**variables: str) -> dict[str, str]:
    """This environment without any setting of batchsight, with the commands on the path."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("BATCHSIGHT_")}
    commands = f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"
    return {**inherited, "PATH": commands, "NO_COLOR": "1", **variables}


def processes_of(folder: Path) -> list[str]:
    """Command lines of the processes that work below a folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            told = [*process.cmdline(), process.environ().get("BATCHSIGHT_STORAGE", "")]
            if any(str(folder) in text for text in told):
                found.append(" ".join(process.cmdline()))
    return found


@dataclass(frozen=True, kw_only=True)
class Home:
    """Where a user works: an own folder, and a system that runs."""

    folder: Path
    environment: Mapping[str, str]

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


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """The system of the README's section `By hand`."""
    folder = tmp_path_factory.mktemp("home")
    logs = tmp_path_factory.mktemp("logs")
    shutil.copytree(REPOSITORY / "examples", folder / "examples")
    redis_command, *programs = map(shlex.split, started_by_hand())
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


Printed = Mapping[int, tuple[int, str]]
"""Exit code and output of each command, by its line in the README."""


@pytest.fixture(scope="session")
def printed(home: Home) -> Printed:
    """What the README's commands print when they are run one after the other."""
    outcome = {}
    for step in steps():
        done = home.shell(step.command)
        outcome[step.line] = (done.returncode, done.stdout.replace(str(home.folder), HOME))
    return outcome
