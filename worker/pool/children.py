"""What the children of a worker's pool tell its main process: whether they are ready, or why not.

A pool hands tasks to every child that has started, be it able to work or not, and starts a new one
for every one that has died, for ever. So a child that cannot prepare says why and ends before it
counts as started; and what was never ready when it died is noticed.
"""

import fcntl
import json
import logging
import os
import random
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import Any

from process.limits import CHILD_BYTES, usable_memory

PAUSE_SECONDS = 10.0
"""How long a child that is not ready waits before it ends, and another one tries."""
DEATHS_BEFORE_SHRINKING = 3

log = logging.getLogger(__name__)


class Children:
    """Reports of all children over one pipe, made before the pool forks."""

    def __init__(self) -> None:
        self.inbox, self._outbox = os.pipe()
        fcntl.fcntl(self.inbox, fcntl.F_SETFL, os.O_NONBLOCK)
        self._preparing: set[int] = set()
        self.ready: set[int] = set()
        self.problem: str | None = None
        """Why the last child that was not ready was not; none when one was ready since."""
        self._complaint: str | None = None
        self.deaths = 0
        """Children that died without a word before they were ready, since one last was."""

    # In a child

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Report how the block ends. After an error this process ends, having waited a while."""
        self._tell("preparing")
        if self.deaths:  # not all at once: together they may need more memory than there is
            time.sleep(random.uniform(0, min(self.deaths, PAUSE_SECONDS)))
        try:
            yield
        except Exception as error:
            problem = unready(error)
            # Those before this one have shown where it comes from, if it is the same.
            log.error(problem, exc_info=problem != self.problem)
            self._tell("unready", problem)
            time.sleep(PAUSE_SECONDS)
            raise SystemExit(1) from None
        self._tell("ready")

    def complain(self, problem: str) -> None:
        """Tell the main process that storage is not there, or a library."""
        self._tell("complaint", problem)

    def _tell(self, state: str, problem: str = "") -> None:
        report = {"pid": os.getpid(), "state": state, "problem": problem[:600]}
        os.write(self._outbox, json.dumps(report).encode() + b"\n")  # whole, below PIPE_BUF

    # In the main process

    def hear(self, alive: Set[int]) -> int:
        """Take in all reports; returns how many children died before they were ready.

        `alive` are the process ids of the pool's children now.
        """
        for report in self._reports():
            pid = report["pid"]
            match report["state"]:
                case "preparing":
                    self._preparing.add(pid)
                case "ready":
                    self._preparing.discard(pid)
                    self.ready.add(pid)
                    self.problem, self.deaths = None, 0
                case "unready":
                    self._preparing.discard(pid)
                    self.problem = report["problem"]
                case "complaint":
                    self._complaint = report["problem"]
        self.ready &= alive
        died = len(self._preparing - alive)
        if died:
            self.deaths += died
            self._say_death(len(alive))
        self._preparing &= alive
        return died

    def take_complaint(self) -> str | None:
        """What a child has found wrong while it worked since this was last asked."""
        complaint, self._complaint = self._complaint, None
        return complaint

    def _say_death(self, children: int) -> None:
        needed, memory = children * CHILD_BYTES / 1e9, usable_memory() / 1e9
        problem = (
            f"A child died before it was ready. Memory is what most often kills it: {children} "
            f"children need some {needed:.1f} GB, and there are {memory:.1f} GB. Give the worker "
            "more, or set BATCHSIGHT_CONCURRENCY lower."
        )
        if problem != self.problem:
            log.error(problem)
        self.problem = problem

    def _reports(self) -> Iterator[dict[str, Any]]:
        received = b""
        try:
            while piece := os.read(self.inbox, 65_536):
                received += piece
        except BlockingIOError:
            pass
        yield from map(json.loads, received.splitlines())


def unready(error: BaseException) -> str:
    """Why a child takes no batches, and what to do about it."""
    return f"A child is not ready: {reason_of(error)}. {remedy(error)}"


def reason_of(error: BaseException) -> str:
    """The kind of an error and its first line."""
    lines = str(error).strip().rstrip(".").splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def remedy(error: BaseException) -> str:
    """What to do about an error that keeps a child from being ready."""
    if isinstance(error, ImportError):
        return "Install what locks/worker.txt names."
    if isinstance(error, MemoryError):
        return "Give the worker more memory, or set BATCHSIGHT_CONCURRENCY lower."
    return "The worker's log tells more."


children = Children()
"""Made when the worker is imported: every child inherits it."""
