"""Cores and memory that a worker may use, told by cgroup files in a folder of the test's own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from process.limits import CHILD_BYTES, fitting_children, memory_kills, usable_cores, usable_memory
from tests.processes import REPOSITORY

CORES = len(os.sched_getaffinity(0))
MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
UNLIMITED_V1 = "9223372036854771712"


def version_2(tmp_path: Path, path: str, files: Mapping[str, str], root: str = "/") -> Path:
    """A `/proc/self` whose process is in the group `path` of cgroups' version 2."""
    folder = tmp_path / "cgroup"
    write(folder, files)
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(f"0::{path}\n")
    (proc / "mountinfo").write_text(
        "22 21 0:20 / /proc rw,nosuid - proc proc rw\n"
        f"31 23 0:28 {root} {folder} rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
    )
    return proc


def version_1(tmp_path: Path, path: str, files: Mapping[str, str], root: str = "/") -> Path:
    """The same of version 1, beside an empty hierarchy of version 2, as many systems have it."""
    folder = tmp_path / "cgroup"
    write(folder, files)
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(f"9:cpu,cpuacct:{path}\n4:memory:{path}\n0::/\n")
    (proc / "mountinfo").write_text(
        f"32 31 0:29 {root} {folder}/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
        f"35 31 0:32 {root} {folder}/memory rw,relatime - cgroup cgroup rw,memory\n"
        f"41 31 0:38 / {folder}/unified rw,relatime - cgroup2 cgroup2 rw\n"
    )
    return proc


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000", CORES),
        ("100000 100000", 1),
        ("50000 100000", 1),
        ("1000 100000", 1),
        ("150000 100000", min(CORES, 2)),
        ("200000 100000", min(CORES, 2)),
        ("20000 10000", min(CORES, 2)),
        ("6400000 100000", CORES),
        ("nonsense", CORES),
        ("100000 0", CORES),
    ],
)
def test_a_quota_of_version_2_limits_the_cores(tmp_path: Path, text: str, cores: int) -> None:
    assert usable_cores(version_2(tmp_path, "/", {"cpu.max": text})) == cores


@pytest.mark.parametrize(
    ("quota", "period", "cores"),
    [
        ("-1", "100000", CORES),
        ("100000", "100000", 1),
        ("25000", "50000", 1),
        ("150000", "100000", min(CORES, 2)),
        ("100000", "0", CORES),
    ],
)
def test_a_quota_of_version_1_limits_the_cores(
    tmp_path: Path, quota: str, period: str, cores: int
) -> None:
    files = {"cpu/cpu.cfs_quota_us": quota, "cpu/cpu.cfs_period_us": period}
    assert usable_cores(version_1(tmp_path, "/", files)) == cores


@pytest.mark.parametrize("path", ["/", "/slice", "/slice/pod/container"])
def test_a_limit_of_any_group_above_counts(tmp_path: Path, path: str) -> None:
    files = {
        "cpu.max": "max 100000",
        "slice/pod/container/cpu.max": "max 100000",
        path.lstrip("/") + "/cpu.max": "100000 100000",
        path.lstrip("/") + "/memory.max": "1000000000",
    }
    proc = version_2(tmp_path, "/slice/pod/container", {k.lstrip("/"): v for k, v in files.items()})
    assert (usable_cores(proc), usable_memory(proc)) == (1, 1_000_000_000)


@pytest.mark.parametrize("make", [version_1, version_2])
@pytest.mark.parametrize("root", ["/docker/ab12", "/"])
def test_a_container_that_sees_only_its_own_group_is_told_its_limits(
    tmp_path: Path, make: Callable[..., Path], root: str
) -> None:
    """Its path is one of the host's, which is not to be found below what is mounted."""
    files = {
        "cpu.max": "100000 100000",
        "memory.max": "2000000000",
        "cpu/cpu.cfs_quota_us": "100000",
        "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "2000000000",
    }
    proc = make(tmp_path, "/docker/ab12", files, root)
    assert usable_cores(proc) == 1
    assert usable_memory(proc) == 2_000_000_000


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory.max": "max", "memory.high": "max"}, MACHINE),
        ({"memory.max": "1500000000"}, 1_500_000_000),
        ({"memory.max": "max", "memory.high": "1200000000"}, 1_200_000_000),
        ({"memory.max": str(2 * MACHINE)}, MACHINE),
        ({}, MACHINE),
    ],
)
def test_memory_is_what_group_and_machine_allow(
    tmp_path: Path, files: Mapping[str, str], limit: int
) -> None:
    assert usable_memory(version_2(tmp_path, "/", files)) == limit


@pytest.mark.parametrize(
    ("make", "name", "text"),
    [
        (version_2, "slice/memory.events", "low 0\nhigh 0\nmax 9\noom 4\noom_kill 3\n"),
        (version_1, "memory/slice/memory.oom_control", "oom_kill_disable 0\noom_kill 3"),
    ],
)
def test_what_the_kernel_has_killed_is_counted(
    tmp_path: Path, make: Callable[..., Path], name: str, text: str
) -> None:
    assert memory_kills(make(tmp_path, "/slice", {name: text})) == 3


def test_no_limit_of_version_1_is_none(tmp_path: Path) -> None:
    proc = version_1(tmp_path, "/", {"memory/memory.limit_in_bytes": UNLIMITED_V1})
    assert usable_memory(proc) == MACHINE


def test_without_cgroups_the_machine_counts(tmp_path: Path) -> None:
    assert (usable_cores(tmp_path), usable_memory(tmp_path)) == (CORES, MACHINE)


@pytest.mark.parametrize(
    ("memory", "children"),
    [(CHILD_BYTES // 2, 1), (CHILD_BYTES, 1), (1_000_000_000, 1), (100 * CHILD_BYTES, CORES)],
)
def test_children_fit_into_memory_and_there_is_always_one(
    tmp_path: Path, memory: int, children: int
) -> None:
    assert fitting_children(version_2(tmp_path, "/", {"memory.max": str(memory)})) == min(
        children, fitting_children(tmp_path)
    )


# The real thing


@pytest.fixture
def groups() -> Iterator[list[Path]]:
    """Groups of version 1 of the test's own, with one core and 1 GB."""
    mounted = [Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup/memory")]
    own = [folder / f"batchsight-test-{os.getpid()}" for folder in mounted]
    try:
        for folder in own:
            folder.mkdir()
    except OSError:
        pytest.skip("no cgroups of version 1 that this user may make")
    (own[0] / "cpu.cfs_quota_us").write_text("100000")
    (own[1] / "memory.limit_in_bytes").write_text("1000001536")
    yield own
    for folder in own:
        folder.rmdir()


def test_a_process_in_real_groups_is_told_their_limits(groups: list[Path]) -> None:
    code = (
        "from process.limits import *; from worker.celery import app;"
        "print(usable_cores(), usable_memory(), app.conf.worker_concurrency)"
    )
    join = " && ".join(f"echo $$ > {folder}/cgroup.procs" for folder in groups)
    done = subprocess.run(
        ["sh", "-c", f'{join} && exec {sys.executable} -c "{code}"'],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    cores, memory, children = map(int, done.stdout.split())
    assert (cores, children) == (1, 1)
    assert abs(memory - 1_000_001_536) < 4096
