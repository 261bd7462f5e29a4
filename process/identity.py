"""Which process somebody is, so that no other is ever taken for it, and whether it still runs.

A host name and a process id are not enough: containers share host names, each counts processes
of its own, and ids are given anew.
"""

import os
import socket
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    boot: str
    """Names the running kernel, or the host where there is no such name."""
    namespace: str
    """In which of the kernel's PID namespaces `pid` counts."""
    pid: int
    started: int | None
    """Clock ticks from the kernel's start to that of the process; none when that is unknown."""

    def is_gone(self) -> bool:
        """Whether it is known to run no more. Of other machines and namespaces nothing is known."""
        here = this_process()
        if (self.boot, self.namespace) != (here.boot, here.namespace):
            return False
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass  # it runs, and is somebody else's
        state, started = read_state(self.pid)
        if state in ("Z", "X"):
            return True  # dead, and its parent has not noticed
        return None not in (started, self.started) and started != self.started


def this_process() -> Process:
    return _process(os.getpid())


@lru_cache(maxsize=1)
def _process(pid: int) -> Process:
    return Process(machine_id(), namespace_id(), pid, read_state(pid)[1])


def machine_id() -> str:
    """Names the running kernel, or the host where there is no such name."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text("utf-8").strip()
    except OSError:
        return socket.gethostname()


def namespace_id() -> str:
    """Names the PID namespace of this process; empty where there is none."""
    try:
        return str((PROC / "self/ns/pid").readlink())
    except OSError:
        return ""


def read_state(pid: int) -> tuple[str | None, int | None]:
    """The state of a process as one letter, and when it started; none for what is not known.

    See proc(5). Nothing is known when /proc is that of another PID namespace.
    """
    try:
        if (PROC / "self").readlink().name != str(os.getpid()):
            return None, None
        # The name of the program, in brackets, may hold anything.
        fields = (PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, ValueError, IndexError):
        return None, None
