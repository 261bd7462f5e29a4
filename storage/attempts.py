"""The log of who tried a batch: signs of life while it runs, blame when it kills its worker.

    jobs/<job>/attempts/<batch>.jsonl

An attempt begins with a `start` line and closes with an `end` line; a worker that dies writes no
`end`. While it runs, the file's modification time is its heartbeat. A suspect batch is walked
image by image, each announced by a `touch` line first, so that the image that kills is known.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class History:
    """What the log of one batch says."""

    live: bool
    """Somebody is running the batch now."""
    deaths: int
    """Attempts over the whole batch that ended with the death of the worker."""
    timeouts: int
    """Attempts over the whole batch that the soft time limit ended."""
    errors: int
    """Attempts that an unexpected error ended."""
    blamed: Mapping[int, int]
    """How often the worker died (or ran into its time limit) at an image announced alone."""
    walked: int
    """Images before this position have survived a walk, or are blamed."""
    walk_done: bool
    """A walk has reached the end of the batch."""
    attempts: int
    raised: Mapping[int, str] = field(default_factory=dict)
    """Images at which a walk has met an unexpected error, with the error."""


class Attempt:
    """One running attempt. Close it with `end`; leave it open only by dying."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key = secrets.token_hex(4)
        self._began = time.monotonic()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        if os.fstat(self._file).st_size:
            os.write(self._file, b"\n")  # the last writer may have died in the middle of a line
        self._write(event="start", worker=worker_identity(), at=round(time.time(), 6))

    def touch(self, image: int) -> None:
        """Announce that the image at this position of the batch is next to be tried alone."""
        self._write(event="touch", image=image)

    def raised(self, image: int, reason: str) -> None:
        """Note that the image tried alone raises an error, and why."""
        self._write(event="raised", image=image, reason=reason)

    def walk_done(self) -> None:
        """Note that every image of the batch has been tried alone."""
        self._write(event="walked")

    def end(self, outcome: str, phases: Mapping[str, float] | None = None) -> None:
        """Close the attempt with its outcome, its length and the seconds each phase took."""
        seconds = round(time.monotonic() - self._began, 6)
        self._write(event="end", outcome=outcome, seconds=seconds, phases=dict(phases or {}))
        os.close(self._file)

    def beat(self) -> None:
        """Give a sign of life."""
        os.utime(self.path)

    def _write(self, **line: Any) -> None:
        os.write(self._file, json.dumps({"key": self.key, **line}).encode() + b"\n")


class Heartbeat:
    """One thread per worker process that gives signs of life for the attempt that is running."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._attempt: Attempt | None = None
        self._thread: threading.Thread | None = None

    def follow(self, attempt: Attempt | None) -> None:
        """Beat for this attempt from now on; `None` stops."""
        self._attempt = attempt
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(self._seconds)
            attempt = self._attempt
            if attempt is not None:
                try:
                    attempt.beat()
                except OSError:
                    continue  # the job was removed meanwhile; the attempt itself will notice


def worker_identity() -> str:
    """`host:pid` of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def read_events(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a log; none when there is no log yet."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    events = []
    for line in lines:
        try:
            events.append(json.loads(line))
        except ValueError:
            continue  # a line cut off by the death of its writer
    return events


def read_history(path: Path, lease_seconds: float) -> History:
    """Judge the log of one batch.

    An attempt without an end is live as long as its heartbeat is younger than the lease, unless
    its process is known to be gone from this machine. Time is that of the storage, not of this
    machine: clocks may differ.
    """
    events = read_events(path)
    open_attempts: dict[str, str] = {}
    touched: dict[str, int] = {}
    walkers: set[str] = set()
    ended: dict[str, str] = {}
    raised: dict[int, str] = {}
    walk_done = False
    for event in events:
        key = event["key"]
        match event["event"]:
            case "start":
                open_attempts[key] = event["worker"]
            case "touch":
                touched[key] = event["image"]
                walkers.add(key)
            case "raised":
                raised[event["image"]] = event["reason"]
            case "walked":
                walk_done = True
                touched.pop(key, None)  # what follows is an attempt over the whole batch
                walkers.discard(key)
            case "end":
                open_attempts.pop(key, None)
                ended[key] = event["outcome"]
    fresh = bool(open_attempts) and _age_seconds(path) < lease_seconds
    live = {key for key, worker in open_attempts.items() if fresh and not _is_gone(worker)}
    dead = open_attempts.keys() - live
    timed_out = {key for key, outcome in ended.items() if outcome == "timeout"}
    blamed = Counter(touched[key] for key in (dead | timed_out) & walkers)
    return History(
        live=bool(live),
        deaths=len(dead - walkers),
        timeouts=len(timed_out - walkers),
        errors=sum(outcome.startswith("error") for outcome in ended.values()),
        blamed=blamed,
        walked=max((event["image"] for event in events if event["event"] == "touch"), default=0),
        walk_done=walk_done,
        attempts=sum(event["event"] == "start" for event in events),
        raised=raised,
    )


def _age_seconds(path: Path) -> float:
    """Seconds since the last sign of life, both times read from the storage's own clock."""
    probe = path.with_name(".clock")
    probe.touch()
    try:
        return probe.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _is_gone(worker: str) -> bool:
    """Whether a worker of this machine no longer runs. Of other machines only the lease tells."""
    host, _, pid = worker.rpartition(":")
    if host != socket.gethostname():
        return False
    if int(pid) == os.getpid():
        return True  # a process runs one batch at a time: an open attempt of its own is an old one
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
