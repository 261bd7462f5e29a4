"""A machine that only submits: the producer's lock and three packages, and no TensorFlow."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.conftest import Home, user_environment
from tests.processes import REPOSITORY

PACKAGES = ("messaging", "storage", "producer")


class Machine:
    """A fresh virtual environment, and a copy of what a producer needs of this repository."""

    def __init__(self, folder: Path) -> None:
        self.python = folder / "venv" / "bin" / "python"
        self._code = folder / "code"
        for package in PACKAGES:
            shutil.copytree(REPOSITORY / package, self._code / package)
        venv = str(folder / "venv")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        pip = [sys.executable, "-m", "pip", "--python", venv, "--disable-pip-version-check"]
        options = ["-q", "--require-hashes", "--no-deps", "--no-compile"]
        lock = str(REPOSITORY / "locks" / "producer.txt")
        subprocess.run([*pip, "install", *options, "-r", lock], check=True)

    def run(
        self, *arguments: str, cwd: Path, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self.python, *arguments],
            cwd=cwd,
            env=user_environment(PYTHONPATH=str(self._code), **variables),
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(tmp_path_factory.mktemp("machine"))


@pytest.mark.parametrize("package", ["tensorflow", "keras", "worker", "trainer"])
def test_a_producer_machine_is_without(machine: Machine, tmp_path: Path, package: str) -> None:
    done = machine.run("-c", f"import {package}", cwd=tmp_path)
    assert done.returncode == 1
    assert f"No module named '{package}'" in done.stderr


def test_the_help_comes_at_once(machine: Machine, tmp_path: Path) -> None:
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        done = machine.run("-m", "producer.cli", "--help", cwd=tmp_path)
        seconds.append(time.perf_counter() - began)
        assert done.returncode == 0, done.stderr
        assert "submit" in done.stdout
    assert min(seconds) < 0.5


@pytest.mark.usefixtures("readme_differences")
def test_a_producer_machine_submits_to_the_running_worker(
    machine: Machine, home: Home, tmp_path: Path
) -> None:
    assert home.shell(f"python examples/save_images.py mnist test 50 {tmp_path}").returncode == 0
    done = machine.run(
        *("-m", "producer.cli", "submit", os.fspath(tmp_path), "--model", "mnist@1", "--json"),
        cwd=tmp_path,
        BATCHSIGHT_STORAGE=str(home.storage),
        BATCHSIGHT_REDIS_URL=home.environment["BATCHSIGHT_REDIS_URL"],
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["images"] == {"total": 50, "predicted": 50, "failed": 0}
    assert summary["labelled"] == 50
    assert summary["accuracy"] > 0.9
    report = machine.run(
        *("-m", "producer.cli", "report", summary["id"]),
        cwd=tmp_path,
        BATCHSIGHT_STORAGE=str(home.storage),
    )
    assert report.returncode == 0, report.stderr
    assert (home.storage / "jobs" / summary["id"] / "report.html").is_file()
