"""What real children tell over the pipe."""

import os
import signal
from collections.abc import Callable
from typing import NoReturn

import pytest

from worker.pool import children as module
from worker.pool.children import Children


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)


def fork(children: Children, prepare: Callable[[], object]) -> int:
    """A child that prepares; returns its process id when it has ended."""
    pid = os.fork()
    if pid == 0:
        try:
            with children.preparing():
                prepare()
        except SystemExit as end:
            os._exit(int(str(end.code)))
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def fail() -> NoReturn:
    raise ImportError("No module named 'tensorflow'\nmore lines")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_child_that_has_prepared_is_ready_as_long_as_it_lives() -> None:
    children = Children()
    pid = fork(children, lambda: None)
    children.hear({pid})
    assert (children.ready, children.problem) == ({pid}, None)
    children.hear(set())
    assert (children.ready, children.problem, children.deaths) == (set(), None, 0)


def test_a_child_that_cannot_prepare_says_why_and_what_to_do() -> None:
    children = Children()
    pid = fork(children, fail)
    children.hear({pid})
    assert children.ready == set()
    assert children.problem == (
        "A child is not ready: ImportError: No module named 'tensorflow'. "
        "Install what locks/worker.txt names."
    )
    assert children.deaths == 0, "it has said why"


def test_a_child_that_dies_before_it_is_ready_is_noticed_with_the_remedy() -> None:
    children = Children()
    for deaths in (1, 2, 3):
        pid = fork(children, die)
        children.hear({os.getpid()})
        assert pid not in children.ready
        assert children.deaths == deaths
    assert children.problem is not None
    assert "died before it was ready" in children.problem
    assert "BATCHSIGHT_CONCURRENCY" in children.problem
    pid = fork(children, lambda: None)
    children.hear({pid})
    assert not children.problem, "another one could"
    assert not children.deaths


def test_a_complaint_about_storage_is_heard_once() -> None:
    children = Children()
    children.complain(long := "ä" * 5_000)
    children.hear(set())
    complaint = children.take_complaint()
    assert complaint
    assert long.startswith(complaint)
    assert children.take_complaint() is None


def test_many_reports_at_once_are_heard_whole() -> None:
    children = Children()
    pids = {fork(children, lambda: None) for _ in range(20)}
    children.hear(pids)
    assert children.ready == pids
