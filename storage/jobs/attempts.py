"""The log of who tried a batch: heartbeats while it runs, blame when it kills its worker.

    jobs/<job>/attempts/<batch>.jsonl

An attempt begins with a `start` line and closes with an `end` line; a worker that dies writes no
`end`. While it runs, the file's modification time is its heartbeat. A suspect batch is walked
image by image, each announced by a `touch` line first, so that the image that kills is known.
"""

import errno
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from process.identity import Process, this_process
from storage.errors import Corrupt
from storage.files import discard, make_folder, read_regular, share, touch

log = logging.getLogger(__name__)

NUMBER = (int, float)
FIELDS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "start": {"worker": str, "process": dict, "lease": (*NUMBER, type(None)), "at": NUMBER},
    "touch": {"image": int},
    "raised": {"image": int, "reason": str},
    "walked": {},
    "finished": {"images": int},
    "end": {"outcome": str, "seconds": NUMBER, "phases": dict},
}
"""What a line holds beside its key, by event. Newer programs may know more events."""

OUTCOME_LENGTH = 500
"""Characters of an outcome that are kept: an end must fit where its beginning found room."""
DUPLICATE = "duplicate"
"""The outcome of an attempt whose batch had the same result by then."""


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
    finished: int = 0
    """Images that the live attempt says to have finished."""
    raised: Mapping[int, str] = field(default_factory=dict)
    """Images at which a walk has met an unexpected error, with the error."""


class Attempt:
    """One running attempt. Close it with `end`; leave it open only by dying.

    It is live as long as its heartbeats are at most `lease_seconds` apart, whatever lease its
    reader has; without one that of the reader counts. Raises `OSError` when it cannot be logged.
    """

    def __init__(self, path: Path, lease_seconds: float | None = None) -> None:
        self.path = path
        self.key = secrets.token_hex(4)
        self._began = time.monotonic()
        self._file = open_log(path)
        try:
            if os.fstat(self._file).st_size:
                self._put(b"\n")  # the last writer may have died in the middle of a line
            else:
                share(self._file, path.parent)
            self._write(
                event="start",
                worker=worker_identity(),
                process=asdict(this_process()),
                lease=lease_seconds,
                at=round(time.time(), 6),
            )
        except BaseException:
            os.close(self._file)
            raise

    def touch(self, image: int) -> None:
        """Announce that the image at this position of the batch is next to be tried alone."""
        self._write(event="touch", image=image)

    def raised(self, image: int, reason: str) -> None:
        """Note that the image tried alone raises an error, and why."""
        self._write(event="raised", image=image, reason=reason)

    def walk_done(self) -> None:
        """Note that every image of the batch has been tried alone."""
        self._write(event="walked")

    def note_finished(self, images: int) -> None:
        """Note how many images are finished, for who follows the job, if the disk has room."""
        with suppress(OSError):
            self._write(event="finished", images=images)

    def end(self, outcome: str, phases: Mapping[str, float] | None = None) -> None:
        """Close the attempt with its outcome, its length and the seconds each phase took.

        Where that cannot be written, what the attempt has come to is still not lost: its log
        reads as if its worker had died.
        """
        seconds = round(time.monotonic() - self._began, 6)
        outcome = outcome[:OUTCOME_LENGTH]
        try:
            self._write(event="end", outcome=outcome, seconds=seconds, phases=dict(phases or {}))
        except OSError as error:
            log.warning("The end of an attempt is not in %s: %s.", self.path, error.strerror)
        finally:
            os.close(self._file)

    def beat(self) -> None:
        """Send a heartbeat."""
        os.utime(self.path)

    def _write(self, **line: Any) -> None:
        self._put(json.dumps({"key": self.key, **line}).encode() + b"\n")

    def _put(self, content: bytes) -> None:
        if os.write(self._file, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))


def open_log(path: Path) -> int:
    """Open a log for appending. What lies in its place and is no file is removed."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno not in (errno.ENXIO, errno.EISDIR, errno.ELOOP):  # pipe, folder, circle
            raise
    discard(path)
    return os.open(path, flags, 0o666)


class Attempts:
    """The logs of one job, by batch."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, batch: int) -> Path:
        """The log of attempts at a batch."""
        return self._folder / f"{batch:06d}.jsonl"

    def begun(self) -> bool:
        """Whether anybody has tried any batch."""
        return any(self._folder.glob("*.jsonl"))

    def begin(self, batch: int, lease_seconds: float | None = None) -> Attempt:
        """Log that this process runs a batch now, and how far apart its heartbeats may be."""
        make_folder(self._folder)  # copies of a job may lack what was empty
        return Attempt(self.path(batch), lease_seconds)

    def history(self, batch: int, lease_seconds: float) -> History:
        """Who tried a batch so far."""
        return read_history(self.path(batch), lease_seconds)

    def events(self, batch: int) -> list[dict[str, Any]]:
        """All that was logged of a batch, in order."""
        return read_events(self.path(batch))

    def forget(self, batch: int) -> None:
        """Begin anew with a batch, as if nobody had tried it."""
        self.path(batch).unlink(missing_ok=True)


class Heartbeat:
    """One thread per worker process that sends heartbeats for the attempt that is running."""

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
    """All whole lines of a log; none when there is no log yet.

    What no attempt can have written is left out, as is a line cut off by the death of its writer.
    """
    try:
        lines = read_regular(path).splitlines()
    except (FileNotFoundError, Corrupt):
        return []
    return [event for line in lines if (event := parse_event(line)) is not None]


def parse_event(line: bytes) -> dict[str, Any] | None:
    """One line of a log; none when it is not whole."""
    try:
        event = json.loads(line)
        kinds = {"key": str, "event": str, **FIELDS.get(event["event"], {})}
        whole = all(isinstance(event[name], kind) for name, kind in kinds.items())
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return event if whole else None


def read_history(path: Path, lease_seconds: float) -> History:
    """Judge the log of one batch.

    An attempt without an end is live as long as its heartbeat is younger than its lease, unless
    its process is known to be gone from this machine. Time is that of the storage, not of this
    machine: clocks may differ.
    """
    events = read_events(path)
    open_attempts: dict[str, dict[str, Any]] = {}
    touched: dict[str, int] = {}
    walkers: set[str] = set()
    ended: dict[str, str] = {}
    raised: dict[int, str] = {}
    finished: dict[str, int] = {}
    walk_done = False
    for event in events:
        key = event["key"]
        match event["event"]:
            case "start":
                open_attempts[key] = event
            case "touch":
                touched[key] = event["image"]
                walkers.add(key)
            case "raised":
                raised[event["image"]] = event["reason"]
            case "walked":
                walk_done = True
                touched.pop(key, None)  # what follows is an attempt over the whole batch
                walkers.discard(key)
            case "finished":
                finished[key] = event["images"]
            case "end":
                open_attempts.pop(key, None)
                ended[key] = event["outcome"]
    age = _age_seconds(path) if open_attempts else 0.0
    live = {
        key
        for key, start in open_attempts.items()
        if age < (start["lease"] or lease_seconds) and not _is_gone(start)
    }
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
        finished=max((finished.get(key, 0) for key in live), default=0),
        raised=raised,
    )


def _age_seconds(path: Path) -> float:
    """Seconds since the last heartbeat, both times read from the storage's own clock."""
    now = touch(path.with_name(".clock"))
    try:
        return now - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _is_gone(start: Mapping[str, Any]) -> bool:
    """Whether the process that began an attempt no longer runs, as far as it can be known here."""
    try:
        process = Process(**start["process"])
        # A process runs one batch at a time: an open attempt of its own is an old one.
        return process == this_process() or process.is_gone()
    except TypeError:
        return False
