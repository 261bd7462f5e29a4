"""A machine that only submits: the producer's lock and three packages, and no TensorFlow."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from storage.jobs.store import JobStore
from tests.acceptance.conftest import Home, user_environment
from tests.builders import array_job, images_of
from tests.fake_queue import FakeWorker
from tests.processes import REPOSITORY

PACKAGES = (
    "console",
    "process",
    "imaging",
    "evaluation",
    "messaging",
    "storage",
    "dispatch",
    "producer",
)
PANDAS = "pandas==3.1.1"
"""In no lock: a producer does without."""
FRAME = """
import sys
sys.path.append(sys.argv[1])
from producer.client import PredictionClient
frame = PredictionClient().job("job").to_pandas()
print(type(frame).__module__, frame.shape, int((frame["label"] == frame["prediction"]).sum()))
"""
COMMAND = """
import sys
sys.path.append(sys.argv[1])
from producer.cli import main
sys.argv = ["producer", "results", "job"]
try: main()
except SystemExit as end: assert not end.code
print("pyarrow" in sys.modules, "pandas" in sys.modules)
"""


class Machine:
    """A fresh virtual environment, and a copy of what a producer needs of this repository."""

    def __init__(self, folder: Path) -> None:
        self.python = folder / "venv" / "bin" / "python"
        self._code = folder / "code"
        for package in PACKAGES:
            shutil.copytree(REPOSITORY / package, self._code / package)
        venv = str(folder / "venv")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        self.install("--require-hashes", "-r", str(REPOSITORY / "locks" / "producer.txt"))

    def install(self, *arguments: str) -> None:
        pip = [sys.executable, "-m", "pip", "--python", str(self.python)]
        options = ["-q", "--disable-pip-version-check", "--no-deps", "--no-compile"]
        subprocess.run([*pip, "install", *options, *arguments], check=True)

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


def test_only_a_data_frame_imports_pandas_where_it_is_installed(
    machine: Machine, tmp_path: Path
) -> None:
    jobs = JobStore(tmp_path / "storage")
    job = array_job(jobs, images_of(range(10)), [0] * 10)
    for batch in range(job.batches):
        jobs.of(job).results.write(batch, FakeWorker(jobs).result(job, batch))
    storage = {"BATCHSIGHT_STORAGE": str(jobs.root)}
    without = machine.run("-c", FRAME, "", cwd=tmp_path, **storage)
    assert "MissingLibrary: pandas is not installed" in without.stderr
    machine.install("--target", str(tmp_path / "pandas"), PANDAS)
    done = machine.run("-c", FRAME, str(tmp_path / "pandas"), cwd=tmp_path, **storage)
    assert done.stdout == "pandas (10, 8) 4\n", done.stderr
    done = machine.run("-c", COMMAND, str(tmp_path / "pandas"), cwd=tmp_path, **storage)
    assert done.stdout.splitlines()[-1] == "True False", done.stderr


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
