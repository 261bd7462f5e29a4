"""The faults of a storm: the seed alone says which comes when, and a ledger tells what was done."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import redis

from messaging.messages import MESSAGES, PredictBatch
from tests.malformed import MALFORMED, encoded
from tests.processes import Program, RedisServer, wait_for, worker

Choice = TypeVar("Choice")

WORKERS = ("one", "two")
SECONDS = (0.3, 3.0)
"""How long a fault that ends lasts."""
ANSWER_SECONDS = 60.0
"""How long a fault waits for what it needs, such as a child to kill."""
BYTES_THAT_ARE_NO_MESSAGE = (b"", b"{}", b"[]", b"\x00\xff", b'{"body": ', b"[" * 10_000)
REFUSALS = {
    "READONLY": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    "NOREPLICAS": (
        ("CONFIG", "SET", "min-replicas-to-write", "1"),
        ("CONFIG", "SET", "min-replicas-to-write", "0"),
    ),
    "OOM": (("CONFIG", "SET", "maxmemory", "100kb"), ("CONFIG", "SET", "maxmemory", "0")),
}
"""What makes Redis refuse to write, and what makes it write again."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of fault."""

    weight: int
    """How often it comes, relative to others."""
    ends: Sequence[str] = ()
    """How it may end attempts."""
    lingers: float = 1.0
    """So many seconds after it some may still end by it."""
    mounts: bool = False
    """Whether it needs a user who may mount."""


AWAY = ("storage", "died")
"""The end of an attempt is not logged where its log is not there, or its disk is full."""
KINDS: Mapping[str, Kind] = {
    "kill -9 of a child": Kind(weight=8, ends=("died",)),
    "kill -9 of a worker": Kind(weight=3, ends=("died",)),
    "SIGTERM of a worker": Kind(weight=2, ends=("died", "interrupted"), lingers=15.0),
    "pause of a child": Kind(weight=3),
    "reset of all connections": Kind(weight=5),
    "kill -9 of Redis": Kind(weight=1),
    "malformed messages": Kind(weight=4),
    "Redis refuses to write": Kind(weight=3),
    "storage moved away from one worker": Kind(weight=3, ends=AWAY, lingers=5.0),
    "storage unmounted under one worker": Kind(weight=3, ends=AWAY, lingers=5.0, mounts=True),
    "a full disk": Kind(weight=3, ends=AWAY, lingers=5.0, mounts=True),
    "a sick worker beside the others": Kind(weight=2, ends=("worker",), lingers=1_000.0),
}


@dataclass(frozen=True, kw_only=True)
class Strike:
    """One fault to be done. Nothing about it is left to chance."""

    kind: str
    worker: str
    """The worker that it hits, if it hits one."""
    share: float
    """Says which of several it is: 0 the first, just below 1 the last."""
    seconds: float
    """How long it lasts, if it ends."""
    pause: float
    """Seconds before it."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One fault that was done."""

    strike: Strike
    began: float
    """Seconds since 1970."""
    ended: float
    detail: str = ""

    def explains(self, outcome: str, began: float, ended: float) -> bool:
        """Whether an attempt from `began` to `ended` may have ended so by this fault."""
        kind = KINDS[self.strike.kind]
        return outcome in kind.ends and self.began < ended and began < self.ended + kind.lingers


def schedule(seed: int, faults: int) -> list[Strike]:
    """What a storm does: the same for the same seed, and each kind once if there are so many."""
    chance = random.Random(seed)
    each = list(KINDS)
    chance.shuffle(each)
    weights = [kind.weight for kind in KINDS.values()]
    kinds = each[:faults] + chance.choices(list(KINDS), weights, k=max(0, faults - len(each)))
    chance.shuffle(kinds)
    return [
        Strike(
            kind=kind,
            worker=chance.choice(WORKERS),
            share=chance.random(),
            seconds=chance.uniform(*SECONDS),
            pause=chance.uniform(0, 1),
        )
        for kind in kinds
    ]


class Disk:
    """Shared storage on a small disk of its own, where this user may mount; `two` is a mount."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder / "disk"
        self.storage = self.folder / "storage"
        self.two = folder / "two"
        self._ballast = self.folder / "ballast"
        for path in (self.folder, self.two):
            path.mkdir()
        self.mounts = mount("-t", "tmpfs", "-o", f"size={megabytes}m", "storm", self.folder)
        self.storage.mkdir()
        if self.mounts:
            self.bind()

    def roots(self) -> dict[str, Path]:
        """Where each worker has its storage."""
        return {"one": self.storage, "two": self.two if self.mounts else self.storage}

    def bind(self) -> None:
        """Mount storage for the second worker."""
        assert mount("--bind", self.storage, self.two)

    def unbind(self) -> None:
        """Take it away from there, whoever uses it."""
        subprocess.run(["umount", "-l", self.two], check=True)

    def close(self) -> None:
        """Leave nothing mounted."""
        if self.mounts:
            for path in (self.two, self.folder):
                subprocess.run(["umount", "-l", path], capture_output=True, check=False)

    @contextmanager
    def moved(self) -> Iterator[None]:
        """Storage lies elsewhere while the block runs."""
        away = self.storage.with_name("away")
        self.storage.rename(away)
        try:
            yield
        finally:
            self._remove_new(self.storage)
            away.rename(self.storage)

    @staticmethod
    def _remove_new(storage: Path) -> None:
        """Remove what a worker that has just started makes where it finds no storage."""
        made = {path.relative_to(storage).as_posix() for path in storage.rglob("*")}
        assert made <= {"jobs", "jobs/.storage-id"}, f"where storage belongs there is {made}"
        shutil.rmtree(storage, ignore_errors=True)

    def fill(self, seconds: float) -> None:
        """Leave no byte free for so long."""
        until = time.monotonic() + seconds
        with self._ballast.open("wb", buffering=0) as file:
            while time.monotonic() < until:
                for size in (1 << 20, 4096):
                    with suppress_full_disk():
                        while file.write(bytes(size)) == size:
                            pass
                time.sleep(0.02)
        self._ballast.unlink()


def mount(*arguments: str | Path) -> bool:
    """Mount something; false where this user may not."""
    with suppress(FileNotFoundError):
        done = subprocess.run(["mount", *arguments], capture_output=True, check=False)
        return done.returncode == 0
    return False


@contextmanager
def suppress_full_disk() -> Iterator[None]:
    """Go on after the block where it has filled the disk."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


@dataclass
class Storm:
    """Does faults to a system, and keeps the ledger."""

    folder: Path
    environment: Mapping[str, str]
    server: RedisServer
    disk: Disk
    say: Callable[[str], object]
    workers: dict[str, Program] = field(default_factory=dict)
    """By name; a trainer is among them."""
    ledger: list[Entry] = field(default_factory=list)
    left_out: list[Strike] = field(default_factory=list)
    """What could not be done here."""
    malformed: int = 0
    """Messages pushed that nobody can read."""
    sick: list[tuple[Program, str]] = field(default_factory=list)
    """Workers that cannot work, each with what is wrong with it. Only the last one runs."""
    _began: float = 0.0

    def begin(self) -> None:
        """Count the seconds from now on."""
        self._began = time.time()

    @property
    def programs(self) -> list[Program]:
        """All of them, ended ones as well."""
        return [*self.workers.values(), *(program for program, _ in self.sick)]

    def strike(self, strike: Strike) -> None:
        """Do one fault."""
        if KINDS[strike.kind].mounts and not self.disk.mounts:
            self.left_out.append(strike)
            self.say(f"         LEFT OUT, since this user may not mount: {strike.kind}")
            return
        time.sleep(strike.pause)
        began = time.time()
        detail = self._faults()[strike.kind](strike) or ""
        self.ledger.append(Entry(strike=strike, began=began, ended=time.time(), detail=detail))
        self.say(f"  {began - self._began:>5.1f} s  {strike.kind}{f': {detail}' if detail else ''}")
        self.restart_ended()

    def _faults(self) -> dict[str, Callable[[Strike], str | None]]:
        return {
            "kill -9 of a child": self._kill_child,
            "kill -9 of a worker": self._kill_worker,
            "SIGTERM of a worker": self._stop_worker,
            "pause of a child": self._pause_child,
            "reset of all connections": self._reset_connections,
            "kill -9 of Redis": self._kill_redis,
            "malformed messages": self._push_malformed,
            "Redis refuses to write": self._refuse,
            "storage moved away from one worker": self._move_storage,
            "storage unmounted under one worker": self._unmount_storage,
            "a full disk": self._fill_disk,
            "a sick worker beside the others": self._start_sick_worker,
        }

    def restart_ended(self) -> None:
        """What the restart policy of containers does."""
        for program in self.workers.values():
            if not program.running:
                program.kill()
                program.start()

    def close(self) -> None:
        """End everything."""
        for program in self.programs:
            program.kill()
        self.server.kill()
        self.disk.close()

    # Processes

    def _child(self, strike: Strike) -> int:
        """A child of the worker, once it has one."""
        children: list[int] = []

        def has_children() -> bool:
            self.restart_ended()
            with suppress(psutil.NoSuchProcess):
                children[:] = self.workers[strike.worker].children()
            return bool(children)

        wait_for(has_children, f"worker {strike.worker} has children", ANSWER_SECONDS)
        return pick(children, strike)

    def _kill_child(self, strike: Strike) -> None:
        with suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(self._child(strike), signal.SIGKILL)

    def _kill_worker(self, strike: Strike) -> str:
        self.workers[strike.worker].kill()
        self.workers[strike.worker].start()
        return strike.worker

    def _stop_worker(self, strike: Strike) -> str:
        os.kill(self.workers[strike.worker].pid, signal.SIGTERM)
        return strike.worker

    def _pause_child(self, strike: Strike) -> str:
        child = self._child(strike)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGSTOP)
            time.sleep(strike.seconds)
            os.kill(child, signal.SIGCONT)
        return f"{strike.seconds:.1f} s"

    def _start_sick_worker(self, strike: Strike) -> str:
        """Start one in the place of the last one, with a fault that it has from its beginning."""
        for program, _ in self.sick:
            program.kill()
        name = f"sick-{len(self.sick)}"
        illness = pick(("broken runtimes", "no storage"), strike)
        broken = self.folder / "broken"
        for library in ("keras", "onnxruntime"):
            (broken / library).mkdir(parents=True, exist_ok=True)
            (broken / library / "__init__.py").write_text("raise ImportError('it is broken')")
        own = {
            "broken runtimes": {"PYTHONPATH": str(broken)},
            "no storage": {"BATCHSIGHT_STORAGE": str(self.folder / name)},
        }[illness]
        environment = {**self.environment, **own}
        program = worker(self.folder, environment, name=name, concurrency=1)
        self.sick.append((program, illness))
        return illness

    # Redis

    def _reset_connections(self, strike: Strike) -> None:
        self.server.client().execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def _kill_redis(self, strike: Strike) -> str:
        self.server.kill()
        time.sleep(strike.seconds / 3)
        self.server.start()
        client = self.server.client()

        def is_loaded() -> bool:
            with suppress(redis.RedisError):
                return client.ping() is True
            return False

        wait_for(is_loaded, "Redis has its data", ANSWER_SECONDS)
        return f"{strike.seconds / 3:.1f} s"

    def _push_malformed(self, strike: Strike) -> str:
        """Push more than fit into hand at once, among them bytes that are no message at all."""
        queue = pick(tuple(MESSAGES), strike)
        forms = list(MALFORMED)
        first = int(strike.share * len(forms))
        names = [forms[(first + 7 * i) % len(forms)] for i in range(6)]
        messages = [pick(BYTES_THAT_ARE_NO_MESSAGE, strike), *map(self._malformed(queue), names)]
        self.server.client().lpush(queue, *messages)
        self.malformed += len(messages)
        return f"{len(messages)} into {queue}"

    def _malformed(self, queue: str) -> Callable[[str], bytes]:
        template = good_message(queue)

        def spoilt(name: str) -> bytes:
            message = deepcopy(template)
            MALFORMED[name](message)
            return json.dumps(message).encode()

        return spoilt

    def _refuse(self, strike: Strike) -> str:
        code = pick(tuple(REFUSALS), strike)
        refuse, take_again = REFUSALS[code]
        client = self.server.client()
        client.execute_command(*refuse)
        time.sleep(strike.seconds)
        client.execute_command(*take_again)
        return f"{code} for {strike.seconds:.1f} s"

    # Storage

    def _move_storage(self, strike: Strike) -> str:
        with self.disk.moved():
            time.sleep(strike.seconds)
        return f"{strike.seconds:.1f} s"

    def _unmount_storage(self, strike: Strike) -> str:
        self.disk.unbind()
        time.sleep(strike.seconds)
        self.disk.bind()
        return f"{strike.seconds:.1f} s"

    def _fill_disk(self, strike: Strike) -> str:
        self.disk.fill(strike.seconds)
        return f"{strike.seconds:.1f} s"


def pick(choices: Sequence[Choice], strike: Strike) -> Choice:
    """The one of several that a fault hits."""
    return choices[int(strike.share * len(choices))]


def good_message(queue: str) -> dict[str, Any]:
    """A message as Celery writes it, for a batch of no job."""
    fields = PredictBatch(job="nobody", batch=0).model_dump()
    return {
        "body": encoded([[], fields, {"callbacks": None, "errbacks": None}]),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"id": "nobody.0.00000000", "task": MESSAGES[queue].task, "retries": 0},
        "properties": {
            "delivery_tag": "00000000-0000-4000-8000-000000000000",
            "delivery_info": {"exchange": "", "routing_key": queue},
            "body_encoding": "base64",
            "priority": 0,
        },
    }
