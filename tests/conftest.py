"""Fixtures of all tests that run real servers and programs."""

import fcntl
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from tests.digits import write_digits
from tests.processes import Program, RedisServer, end_started, run, worker


@pytest.fixture(scope="session", autouse=True)
def temporary_files() -> Iterator[None]:
    """What killed programs leave among the temporary files goes when the tests end."""
    with (
        tempfile.TemporaryDirectory(prefix="tests-", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("TMPDIR", folder)
        yield


@pytest.fixture(scope="session", autouse=True)
def signals() -> None:
    """Programs hear Ctrl-C as on a terminal.

    A shell that runs the tests in the background has itself and all its children ignore it.
    """
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """A failing test leaves nothing running that would fail others."""
    yield
    end_started()


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """A Celery worker that a test starts within its process has everything log errors only."""
    logging.root.setLevel(LOG_LEVEL)
    yield
    logging.root.setLevel(LOG_LEVEL)


settings.register_profile("untimed", deadline=None)  # a machine may be busy
settings.load_profile("untimed")
LOG_LEVEL = logging.root.level
"""Before any test."""
MadeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """Makes what tests read and only read: the first process that runs tests, for all of them."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    def make_once(name: str, make: Callable[[Path], object]) -> Path:
        path = folder / name
        with (folder / f".{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                draft = folder / f".{name}"
                make(draft)
                draft.rename(path)
        return path

    return make_once


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for all tests that do not harm it."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for one test, which may take it away."""
    server = RedisServer(tmp_path / "redis")
    yield server
    server.kill()


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scikit-learn's 1,797 handwritten digits as PNG files: train/<class>/*.png, test/..."""
    return write_digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="session")
def digits_storage(made_once: MadeOnce, digits_folder: Path) -> Path:
    """Storage with the data set and the model `digits` and nothing else, for tests to copy."""

    def train(storage: Path) -> None:
        environment = {"BATCHSIGHT_STORAGE": str(storage)}
        options = ("--dataset", "digits", "--network", "mlp", "--seed", "1")
        run(environment, "trainer", "data", "add", "digits", f"folder:{digits_folder}")
        run(environment, "trainer", "train", *options)

    return made_once("digits-storage", train)


@pytest.fixture(scope="session")
def system(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, digits_storage: Path
) -> Mapping[str, str]:
    """The environment of a system with the data set and the model `digits`, and no worker yet."""
    storage = tmp_path_factory.mktemp("storage")
    shutil.copytree(digits_storage, storage, dirs_exist_ok=True)
    return {
        "BATCHSIGHT_STORAGE": str(storage),
        "BATCHSIGHT_REDIS_URL": redis_server.url,
        "BATCHSIGHT_LEASE_SECONDS": "4",
    }


@pytest.fixture(scope="session")
def running_worker(
    tmp_path_factory: pytest.TempPathFactory, system: Mapping[str, str]
) -> Iterator[Program]:
    """A prediction worker with two children, for all tests that do not harm it."""
    program = worker(tmp_path_factory.mktemp("worker"), system)
    program.wait_for_log("Ready with", 2)
    yield program
    assert program.terminate() == 0
