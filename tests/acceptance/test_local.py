"""`python -m local`, and with it `make demo`, as a user runs it in an empty folder."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from local.redis_server import DEFAULT_PORT, choose_port, is_listening
from local.up import FLOWER_PORT
from tests.acceptance.conftest import processes_of, user_environment
from tests.acceptance.documents import HOME, README, agrees
from tests.processes import REPOSITORY, wait_for


@dataclass(frozen=True, kw_only=True)
class Demo:
    """A run of the demo, and what lay on storage after it."""

    folder: Path
    code: int
    output: str
    left_running: list[psutil.Process]
    files: dict[str, int]
    """Time of the last change of each file that is costly to make."""

    def accuracy(self) -> float:
        told = re.search(r"accuracy +([\d.]+) over all images", self.output)
        assert told, self.output
        return float(told[1])


def run_demo(folder: Path) -> Demo:
    done = subprocess.run(
        [sys.executable, "-m", "local", "demo"],
        cwd=folder,
        env=user_environment(PYTHONPATH=str(REPOSITORY)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    costly = [
        path
        for name in ("downloads", "datasets", "models")
        for path in (folder / ".batchsight" / name).rglob("*")
        if path.is_file()
    ]
    return Demo(
        folder=folder,
        code=done.returncode,
        output=done.stdout,
        left_running=processes_of(folder),
        files={str(path.relative_to(folder)): path.stat().st_mtime_ns for path in costly},
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The first run, in an empty folder."""
    return run_demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def second_demo(demo: Demo) -> Demo:
    """Another run in the same folder."""
    return run_demo(demo.folder)


def test_the_demo_trains_and_classifies_mnist(demo: Demo) -> None:
    assert demo.code == 0, demo.output
    assert demo.accuracy() >= 0.97
    assert "10,000 of 10,000 predicted" in demo.output
    assert ".batchsight/models/mnist/1/model.keras" in demo.files


def test_the_demo_prints_what_the_readme_says(demo: Demo) -> None:
    said = next(b for b in README.blocks("text") if b.lines[0].startswith("1 Starting"))
    output = demo.output.replace(str(demo.folder), HOME)
    assert agrees("\n".join(said.lines), output), output


def test_the_demo_stops_everything_it_started(demo: Demo) -> None:
    assert demo.left_running == []


def test_a_second_demo_neither_downloads_nor_trains(demo: Demo, second_demo: Demo) -> None:
    assert second_demo.code == 0, second_demo.output
    assert "Using mnist@1, trained before" in second_demo.output
    assert second_demo.files == demo.files
    assert second_demo.accuracy() == demo.accuracy()
    assert second_demo.left_running == []


@pytest.fixture
def default_ports_are_taken() -> Iterator[None]:
    """Make sure that something listens where Redis and Flower would by default."""
    with ExitStack() as servers:
        for port in (DEFAULT_PORT, FLOWER_PORT):
            if not is_listening(port):
                servers.enter_context(closing(socket.create_server(("127.0.0.1", port))))
        yield


@pytest.mark.usefixtures("default_ports_are_taken")
def test_the_system_runs_until_ctrl_c_and_leaves_nothing_behind(tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "local", "up", "--concurrency", "1"],
            cwd=tmp_path,
            env=user_environment(PYTHONPATH=str(REPOSITORY)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        said = re.compile(r"export BATCHSIGHT_REDIS_URL=(redis://\S+)")
        wait_for(lambda: "Ctrl-C stops everything." in log.read_text(), "all is ready", 90)
        said_last = log.read_text().partition("Everything runs.")[2]
        assert f"storage  {tmp_path / '.batchsight'}" in said_last
        assert "trainer train --dataset mnist --queue" in said_last
        assert f"port {DEFAULT_PORT} is taken" in said_last

        page = re.search(r"Flower +(http://\S+)", said_last)
        assert page
        assert f"port {FLOWER_PORT} is taken" in log.read_text()
        assert f"export BATCHSIGHT_FLOWER_URL={page[1]}" in log.read_text()
        assert "Redis is that of" not in log.read_text()
        wait_for(lambda: answers(page[1]), "Flower answers", 40)

        url = said.search(log.read_text())
        assert url
        found = subprocess.run(
            [sys.executable, "-m", "producer.cli", "doctor"],
            cwd=tmp_path,
            env=user_environment(
                PYTHONPATH=str(REPOSITORY),
                BATCHSIGHT_REDIS_URL=url[1],
                BATCHSIGHT_FLOWER_URL=page[1],
            ),
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stdout

        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130), log.read_text()
    finally:
        process.kill()
        process.wait()
    assert processes_of(tmp_path) == []
    assert not is_listening(int(url[1].rpartition(":")[2].partition("/")[0]))
    shutil.rmtree(tmp_path / ".batchsight")


def test_a_redis_of_the_settings_is_told_and_all_stops_when_killed_kindly(tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    url = f"redis://127.0.0.1:{choose_port()}/0"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "local", "up", "--concurrency", "1"],
            cwd=tmp_path,
            env=user_environment(PYTHONPATH=str(REPOSITORY), BATCHSIGHT_REDIS_URL=url),
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(lambda: "Ctrl-C stops everything" in log.read_text(), "all is started", 20)
        told = "Redis is that of BATCHSIGHT_REDIS_URL: unset it, and one is started"
        assert told in log.read_text()
        process.terminate()
        assert process.wait(60) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert processes_of(tmp_path) == []


def answers(url: str) -> bool:
    """Whether a web page is there."""
    try:
        with urllib.request.urlopen(url, timeout=2) as page:
            return bool(page.status == 200)
    except OSError:
        return False
