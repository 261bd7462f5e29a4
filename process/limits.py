"""What this process may use: cores and memory, as affinity, cgroups and the machine allow.

A container's quota is not in the number of cores it sees. Both versions of cgroups are read, from
the process's own group up to the root of what is mounted: the lowest limit of them counts.
"""

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TypeVar

Value = TypeVar("Value")

PROC = Path("/proc/self")
CHILD_BYTES = 600_000_000
"""Resident memory of a child with TensorFlow and a small model."""


def usable_cores(proc: Path = PROC) -> int:
    """Cores that this process may keep busy, at least one; a part of a core counts as one."""
    return max(1, math.ceil(min([len(os.sched_getaffinity(0)), *_quotas(proc)])))


def usable_memory(proc: Path = PROC) -> int:
    """Bytes of memory that this process and its children may use together."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_memory_limits(proc)])


def fitting_children(proc: Path = PROC) -> int:
    """How many children make use of the cores and fit into memory: at least one."""
    return max(1, min(usable_cores(proc), usable_memory(proc) // CHILD_BYTES))


def memory_kills(proc: Path = PROC) -> int:
    """How many processes the kernel has killed so far, since their group was out of memory."""
    found = [0]
    for group in _groups(proc, "memory"):
        for name in ("memory.events", "memory.oom_control"):
            found += _read(group / name, _kills)
    return max(found)


def _kills(text: str) -> int:
    """The line `oom_kill 3` of several; raises `ValueError` when there is none."""
    return int(text.partition("oom_kill ")[2].split("\n")[0])


def _quotas(proc: Path) -> Iterator[float]:
    """Quotas of CPU time, in cores."""
    for group in _groups(proc, "cpu"):
        yield from _read(group / "cpu.max", _share)
        quotas = _read(group / "cpu.cfs_quota_us", float)
        periods = _read(group / "cpu.cfs_period_us", float)
        for quota, period in zip(quotas, periods, strict=False):
            if quota > 0 < period:
                yield quota / period


def _share(text: str) -> float:
    """Cores, from `150000 100000`; raises `ValueError` for `max 100000`."""
    quota, period = text.split()
    return float(quota) / float(period)


def _memory_limits(proc: Path) -> Iterator[int]:
    for group in _groups(proc, "memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            yield from _read(group / name, int)


def _read(path: Path, parse: Callable[[str], Value]) -> list[Value]:
    """The value in a file, or nothing: it is not there, or says `max`."""
    try:
        return [parse(path.read_text("ascii"))]
    except (OSError, ValueError, ZeroDivisionError):
        return []


def _groups(proc: Path, controller: str) -> Iterator[Path]:
    """Folders of the groups that this process is in, from its own up to the mounted root."""
    own = dict(_memberships(proc))
    for root, folder, controllers in _mounts(proc):
        if controllers is not None and controller not in controllers:
            continue
        path = own.get(controller if controllers is not None else "", "/")
        # Of a group outside of what is mounted here nothing but the mount itself is to be seen.
        inside = PurePosixPath(path).is_relative_to(root) and ".." not in path
        group = folder / PurePosixPath(path).relative_to(root) if inside else folder
        yield group
        yield from (parent for parent in group.parents if parent.is_relative_to(folder))


def _memberships(proc: Path) -> Iterator[tuple[str, str]]:
    """The group's path by controller; that of version 2 by ``."""
    for line in _lines(proc / "cgroup"):
        _, controllers, path = line.split(":", 2)
        yield from ((controller, path) for controller in controllers.split(","))


def _mounts(proc: Path) -> Iterator[tuple[str, Path, frozenset[str] | None]]:
    """Root, folder and controllers of each mounted hierarchy; version 2 has them all: None."""
    for line in _lines(proc / "mountinfo"):
        place, _, source = line.partition(" - ")
        root, folder = (part.replace("\\040", " ") for part in place.split()[3:5])
        kind, _, options = source.split()[:3]
        if kind == "cgroup2":
            yield root, Path(folder), None
        elif kind == "cgroup":
            yield root, Path(folder), frozenset(options.split(","))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
