import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from process.identity import Process, read_state, this_process
from storage.jobs.attempts import Attempt, Heartbeat, History, read_events, read_history
from tests.builders import die_at
from tests.processes import REPOSITORY, wait_for

LEASE = 15.0
OTHER_MACHINE = Process(boot="elsewhere", namespace="pid:[1]", pid=1, started=1)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "000000.jsonl"


def read(log: Path) -> History:
    return read_history(log, LEASE)


def age(log: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(log, (then, then))


def attempt_of(
    log: Path, process: Process, *, end: str | None = None, lease_seconds: float | None = None
) -> Attempt:
    """An attempt by another process."""
    attempt = Attempt(log, lease_seconds)
    before, start = log.read_bytes().rstrip(b"\n").rpartition(b"\n")[::2]
    event = {**json.loads(start), "process": asdict(process)}
    log.write_bytes(before + b"\n" + json.dumps(event).encode() + b"\n")
    if end is not None:
        attempt.end(end)
    return attempt


def process_of(pid: int) -> Process:
    """A process of this machine that runs."""
    return replace(this_process(), pid=pid, started=read_state(pid)[1])


def walk_to(log: Path, *images: int, end: str, done: bool = False) -> None:
    attempt = Attempt(log)
    for image in images:
        attempt.touch(image)
    if done:
        attempt.walk_done()
    attempt.end(end)


def test_a_batch_nobody_tried_has_an_empty_history(log: Path) -> None:
    assert read(log) == History(
        live=False,
        deaths=0,
        timeouts=0,
        errors=0,
        blamed={},
        walked=0,
        walk_done=False,
        attempts=0,
    )


def test_outcomes_are_told_apart(log: Path) -> None:
    for outcome in ("done", "duplicate", "timeout", "error: odd", "storage: full", "refused: no"):
        Attempt(log).end(outcome)
    history = read(log)
    assert (history.attempts, history.timeouts, history.errors, history.deaths) == (6, 1, 1, 0)
    assert not history.live
    assert not history.blamed


def test_phases_are_kept_for_people_to_read(log: Path) -> None:
    Attempt(log).end("done", {"read": 0.25})
    start, end = read_events(log)
    assert start["worker"] == f"{socket.gethostname()}:{os.getpid()}"
    assert end["phases"] == {"read": 0.25}
    assert start["key"] == end["key"]


def test_an_attempt_on_another_machine_lives_as_long_as_its_lease(log: Path) -> None:
    attempt_of(log, OTHER_MACHINE)
    age(log, LEASE - 5)
    assert read(log).live
    assert read(log).deaths == 0
    age(log, LEASE + 5)
    assert not read(log).live
    assert read(log).deaths == 1


def test_a_heartbeat_renews_the_lease(log: Path) -> None:
    attempt = attempt_of(log, OTHER_MACHINE)
    age(log, LEASE + 5)
    attempt.beat()
    assert read(log).live


def test_an_attempt_of_a_process_of_this_machine_that_has_gone_is_dead_at_once(log: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    process = process_of(gone.pid)
    gone.wait()
    attempt_of(log, process)
    assert read(log).deaths == 1
    assert not read(log).live


def test_an_attempt_of_a_process_of_this_machine_that_runs_is_live(log: Path) -> None:
    attempt_of(log, process_of(os.getppid()))
    assert read(log).live
    age(log, LEASE + 5)
    assert not read(log).live


def test_an_open_attempt_of_this_very_process_is_an_old_one(log: Path) -> None:
    Attempt(log)
    assert not read(log).live
    assert read(log).deaths == 1


def test_a_live_attempt_is_told_from_the_dead_ones_before_it(log: Path) -> None:
    die_at(log)
    die_at(log)
    attempt_of(log, OTHER_MACHINE)
    history = read(log)
    assert history.live
    assert (history.deaths, history.attempts) == (2, 3)


def test_a_death_at_an_announced_image_blames_the_image_and_not_the_batch(log: Path) -> None:
    die_at(log, 0, 1, 2)
    history = read(log)
    assert dict(history.blamed) == {2: 1}
    assert history.deaths == 0
    assert history.walked == 2


def test_a_time_limit_at_an_announced_image_blames_the_image_as_well(log: Path) -> None:
    walk_to(log, 0, 1, end="timeout")
    history = read(log)
    assert dict(history.blamed) == {1: 1}
    assert history.timeouts == 0


def test_a_walk_ended_by_an_error_blames_nobody(log: Path) -> None:
    walk_to(log, 0, 1, end="error: odd")
    history = read(log)
    assert not history.blamed
    assert history.errors == 1
    assert history.walked == 1


def test_blame_adds_up_over_attempts(log: Path) -> None:
    for images in ((0, 1), (1,), (1,), (2, 3)):
        die_at(log, *images)
    history = read(log)
    assert dict(history.blamed) == {1: 3, 3: 1}
    assert history.walked == 3
    assert not history.walk_done


def test_a_death_after_the_walk_blames_the_batch_and_no_image(log: Path) -> None:
    attempt = Attempt(log)
    attempt.touch(0)
    attempt.touch(1)
    attempt.walk_done()
    os.close(attempt._file)
    history = read(log)
    assert history.walk_done
    assert not history.blamed
    assert history.deaths == 1


def test_a_time_limit_after_the_walk_is_one_of_the_whole_batch(log: Path) -> None:
    walk_to(log, 0, 1, end="timeout", done=True)
    history = read(log)
    assert history.timeouts == 1
    assert not history.blamed


def test_a_line_cut_off_by_death_takes_no_other_line_with_it(log: Path) -> None:
    die_at(log, 3)
    with log.open("ab") as file:
        file.write(b'{"key": "abc", "eve')
    die_at(log, 3)
    Attempt(log).end("done")
    history = read(log)
    assert history.attempts == 3
    assert dict(history.blamed) == {3: 2}


def test_the_age_of_a_log_is_measured_by_the_clock_of_the_storage(log: Path) -> None:
    attempt_of(log, OTHER_MACHINE)
    read(log)
    assert log.with_name(".clock").exists()
    assert [entry for entry in log.parent.iterdir() if entry.name[0] != "."] == [log]


def test_the_heartbeat_follows_one_attempt_at_a_time(tmp_path: Path) -> None:
    heartbeat = Heartbeat(0.01)
    first, second = Attempt(tmp_path / "first"), Attempt(tmp_path / "second")
    for path in (first.path, second.path):
        age(path, 100)

    def is_fresh(attempt: Attempt) -> bool:
        return time.time() - attempt.path.stat().st_mtime < 50

    heartbeat.follow(first)
    wait_for(lambda: is_fresh(first), "a first beat", 5)
    assert not is_fresh(second)
    heartbeat.follow(second)
    wait_for(lambda: is_fresh(second), "a beat of the second", 5)
    heartbeat.follow(None)
    time.sleep(0.05)
    age(second.path, 100)
    time.sleep(0.1)
    assert not is_fresh(second)


def test_the_heartbeat_survives_the_removal_of_its_job(tmp_path: Path) -> None:
    heartbeat = Heartbeat(0.01)
    removed, kept = Attempt(tmp_path / "removed"), Attempt(tmp_path / "kept")
    removed.path.unlink()
    heartbeat.follow(removed)
    time.sleep(0.05)
    age(kept.path, 100)
    heartbeat.follow(kept)
    wait_for(lambda: time.time() - kept.path.stat().st_mtime < 50, "a beat", 5)
    heartbeat.follow(None)


# Whose attempt it is


def start_in_own_namespace(log: Path, lease_seconds: float = LEASE) -> subprocess.Popen[str]:
    """A worker on a host of the same name, but with process ids of its own, that has begun."""
    program = (
        "import sys, time; from pathlib import Path; from storage.jobs.attempts import Attempt;"
        "Attempt(Path(sys.argv[1]), float(sys.argv[2])); print('begun', flush=True);"
        "time.sleep(60)"
    )
    unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    worker = subprocess.Popen(
        [*unshare, sys.executable, "-c", program, str(log), str(lease_seconds)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    if worker.stdout.readline() != "begun\n":
        worker.wait()
        pytest.skip("no PID namespace can be made here")
    return worker


def test_an_attempt_in_another_pid_namespace_of_this_machine_is_live(log: Path) -> None:
    worker = start_in_own_namespace(log)
    try:
        assert json.loads(log.read_bytes())["worker"].partition(":")[0] == socket.gethostname()
        assert read(log).live
        assert read(log).deaths == 0
        age(log, LEASE + 5)
        assert read(log).deaths == 1, "of it only the lease tells"
    finally:
        worker.kill()
        worker.communicate()


def test_an_attempt_seen_from_another_pid_namespace_is_live(log: Path) -> None:
    """There its process id belongs to nobody, or to somebody else."""
    attempt_of(log, process_of(os.getppid()))
    program = (
        "import sys; from pathlib import Path; from storage.jobs.attempts import read_history;"
        "print(read_history(Path(sys.argv[1]), 15).live)"
    )
    for proc in ([], ["--mount-proc"]):
        command = ["unshare", "--pid", "--fork", *proc, sys.executable, "-c", program, str(log)]
        seen = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        if seen.returncode != 0 and "unshare" in seen.stderr:
            pytest.skip("no PID namespace can be made here")
        assert seen.stdout == "True\n", seen.stderr


def test_nothing_is_taken_from_a_proc_of_another_pid_namespace() -> None:
    program = "from process.identity import this_process; print(this_process().started)"
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", program]
    seen = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if seen.returncode != 0:
        pytest.skip("no PID namespace can be made here")
    assert seen.stdout == "None\n"


def test_a_process_that_got_the_id_of_one_that_has_gone_is_not_taken_for_it(log: Path) -> None:
    other = process_of(os.getppid())
    assert other.started is not None
    attempt_of(log, replace(other, started=other.started - 1))
    assert not read(log).live
    assert read(log).deaths == 1


def test_an_attempt_from_before_the_machine_was_started_anew_has_its_lease(log: Path) -> None:
    attempt_of(log, replace(process_of(os.getppid()), started=1, boot="the boot before"))
    assert read(log).live
    age(log, LEASE + 5)
    assert read(log).deaths == 1


def test_a_process_that_died_unnoticed_by_its_parent_is_gone(log: Path) -> None:
    zombie = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    attempt_of(log, process_of(zombie.pid))
    assert read(log).live
    zombie.kill()
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert read(log).deaths == 1
    finally:
        zombie.communicate()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_process_of_another_user_that_runs_is_live() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        log = Path(folder, "000000.jsonl")
        attempt_of(log, process_of(os.getppid()))
        for path, mode in ((log.parent, 0o777), (log, 0o666)):
            path.chmod(mode)
        program = (
            "import os, sys; from pathlib import Path; "
            "from storage.jobs.attempts import read_history;"
            "os.setgid(65534); os.setuid(65534);"
            "print(read_history(Path(sys.argv[1]), 15).live)"
        )
        command = [sys.executable, "-c", program, str(log)]
        seen = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert seen.stdout == "True\n", seen.stderr


def test_an_attempt_has_the_lease_of_its_worker_whatever_that_of_its_reader(log: Path) -> None:
    attempt_of(log, OTHER_MACHINE, lease_seconds=100 * LEASE)
    age(log, 50 * LEASE)
    assert read(log).live
    age(log, 101 * LEASE)
    assert not read(log).live
    log.unlink()
    attempt_of(log, OTHER_MACHINE, lease_seconds=LEASE / 5)
    age(log, LEASE / 2)
    assert not read(log).live


@pytest.mark.parametrize("off", [-3600.0, 3600.0])
def test_the_clock_of_this_machine_does_not_matter(
    log: Path, monkeypatch: pytest.MonkeyPatch, off: float
) -> None:
    attempt_of(log, OTHER_MACHINE)
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + off)
    assert read(log).live
    then = right() - LEASE - 5
    os.utime(log, (then, then))
    assert not read(log).live


# What cannot be written or read


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond this: a write fails, or does part of its work, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("room", [0, 40], ids=["none", "half a line"])
def test_an_attempt_that_cannot_be_logged_leaves_no_file_open_and_counts_for_nothing(
    log: Path, room: int
) -> None:
    Attempt(log).end("done")
    before = open_files()
    for _ in range(5):
        with (
            file_size_limit(log.stat().st_size + room),
            pytest.raises(OSError, match=r"large|space"),
        ):
            Attempt(log)
    assert open_files() == before
    assert (read(log).attempts, read(log).deaths, read(log).live) == (1, 0, False)


def test_an_end_that_cannot_be_logged_leaves_no_file_open_and_loses_nothing_else(
    log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = open_files()
    attempt = Attempt(log)
    with file_size_limit(log.stat().st_size):
        attempt.end("done")
    assert open_files() == before
    assert f"The end of an attempt is not in {log}" in caplog.text
    Attempt(log).end("done")
    assert read(log).attempts == 2


def test_a_long_outcome_is_cut(log: Path) -> None:
    Attempt(log).end("error: " + "x" * 100_000)
    assert log.stat().st_size < 2_000
    assert read(log).errors == 1


@pytest.mark.parametrize(
    "put", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path)], ids=["pipe", "dir", "loop"]
)
def test_what_lies_in_place_of_a_log_blocks_nobody_and_is_replaced(
    log: Path, put: Callable[[Path], object]
) -> None:
    put(log)
    before = open_files()
    assert read(log).attempts == 0
    Attempt(log).end("done")
    assert read(log).attempts == 1
    assert open_files() == before


@pytest.mark.parametrize(
    "line",
    [
        *(b"[]", b"3", b"null", b"\xff\xfe", b"{}", b"[" * 100_000, b"\0" * 4096),
        b'{"key": "a"}',
        b'{"key": "a", "event": "dance"}',
        b'{"key": "a", "event": ["start"]}',
        b'{"key": "a", "event": "start"}',
        b'{"key": ["a"], "event": "walked"}',
        b'{"key": "a", "event": "touch", "image": "3"}',
        b'{"key": "a", "event": "end", "outcome": null}',
        b'{"key": "a", "event": "start", "worker": "h:1", "at": 1.5, "lease": "x"}',
    ],
)
def test_a_line_that_no_attempt_has_written_says_nothing(log: Path, line: bytes) -> None:
    Attempt(log).end("done")
    with log.open("ab") as file:
        file.write(line + b"\n")
    history = read(log)
    assert (history.attempts, history.deaths, history.walk_done) == (1, 0, False)


@pytest.mark.parametrize("process", [{}, {"pid": 1}, {"boot": 1, "namespace": 2, "pid": "x"}])
def test_an_attempt_of_a_process_that_makes_no_sense_has_its_lease(
    log: Path, process: dict[str, object]
) -> None:
    start = {"key": "a", "event": "start", "worker": "h:1", "at": 1.5}
    start |= {"process": process, "lease": None}
    log.write_text(json.dumps(start) + "\n")
    assert read(log).live
