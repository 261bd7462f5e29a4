"""`python -m local up`: everything in the foreground, one log."""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from local.programs import (
    Program,
    Programs,
    beat_program,
    desk_program,
    flower_program,
    trainer_program,
    worker_program,
)
from local.redis_server import DEFAULT_PORT, choose_port, redis_command, wait_until_listening
from storage.models.store import ModelStore
from storage.settings import storage_settings

FLOWER_PORT = 5555
DESK_PORT = 5556
READY_SIGNS = {
    "worker": "Ready with",
    "trainer": " ready.",
    "beat": "beat: Starting",
    "flower": "Visit me at",
    "desk": "Desk at",
}
"""What each program logs when it is ready."""
SWEEP = "worker.sweep"
COLOURS = {
    "redis": "red",
    "worker": "green",
    "trainer": "yellow",
    "beat": "magenta",
    "flower": "cyan",
    "desk": "blue",
    "local": "bold",
}


class Log:
    """Lines of many programs, each with a coloured prefix; the regular sweep is left out."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, name: str, line: str) -> None:
        if SWEEP in line:
            return
        prefix = Text(f"{name:>8} │ ", style=COLOURS.get(name, ""))
        self._console.print(prefix + Text(line), soft_wrap=True)


def run_system(concurrency: int | None) -> None:
    """Run Redis (unless one is configured), worker, trainer, beat, Flower and desk until Ctrl-C.

    SIGTERM does the same: killed at once, it would leave them all running.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    log = Log(Console(highlight=False))
    root = storage_settings().root
    root.mkdir(parents=True, exist_ok=True)
    environment = {"BATCHSIGHT_STORAGE": str(root)}
    configured = os.environ.get("BATCHSIGHT_REDIS_URL")
    port = 0 if configured else choose_port(DEFAULT_PORT)
    url = configured or f"redis://127.0.0.1:{port}/0"
    environment["BATCHSIGHT_DESK_ADDRESS"] = "127.0.0.1"
    environment["BATCHSIGHT_REDIS_URL"] = environment["CELERY_BROKER_URL"] = url
    flower_port, desk_port = choose_port(FLOWER_PORT), choose_port(DESK_PORT)

    told = closing_words(
        ModelStore(root),
        desk_url=f"http://127.0.0.1:{desk_port}",
        flower_url=f"http://127.0.0.1:{flower_port}",
        moved_redis=None if port in (0, DEFAULT_PORT) else url,
    )
    with Programs(environment, Opening(log, told)) as programs:
        if not configured:
            start_redis(programs, port, root)
        for program in (
            worker_program(concurrency),
            trainer_program(),
            beat_program(),
            flower_program(flower_port),
            desk_program(desk_port),
        ):
            programs.start(program)
        if configured:
            log("local", "Redis is that of BATCHSIGHT_REDIS_URL: unset it, and one is started")
        log("local", "starting, which takes some seconds; Ctrl-C stops everything")
        try:
            programs.keep_running()
        except KeyboardInterrupt:
            log("local", "stopping; running batches are finished first")


class Opening:
    """Passes lines on to a log, and some words of its own once every program has got ready."""

    def __init__(self, log: Log, words: Sequence[str]) -> None:
        self._log = log
        self._words = words
        self._awaited = dict(READY_SIGNS)
        self._lock = threading.Lock()

    def __call__(self, name: str, line: str) -> None:
        self._log(name, line)
        with self._lock:
            if name not in self._awaited or self._awaited[name] not in line:
                return
            del self._awaited[name]
            if not self._awaited:
                for word in self._words:
                    self._log("local", word)


def closing_words(
    models: ModelStore, *, desk_url: str, flower_url: str, moved_redis: str | None
) -> list[str]:
    """Where what runs is to be found, and what to type next, in another shell."""
    words = [
        "",
        "Everything runs.",
        f"  storage  {models.folder.parent}",
        f"  desk     {desk_url}",
        f"  Flower   {flower_url}",
    ]
    words += ["Next, in another shell, in this folder:"]
    if moved_redis:
        words += [f"  export BATCHSIGHT_REDIS_URL={moved_redis}   # port {DEFAULT_PORT} is taken"]
    if not flower_url.endswith(f":{FLOWER_PORT}"):
        words += [f"  export BATCHSIGHT_FLOWER_URL={flower_url}   # port {FLOWER_PORT} is taken"]
    if Path(sys.prefix) == Path.cwd() / ".venv":
        words += ["  . .venv/bin/activate"]
    if any(models.names()):
        words += ["  producer submit FOLDER"]
    else:
        words += ["  trainer train --dataset mnist --queue", "  producer submit mnist:test"]
    return [*words, "Ctrl-C stops everything."]


def start_redis(programs: Programs, port: int, root: Path) -> None:
    """Start Redis with its data below the storage root, and wait for it."""
    programs.start(Program(name="redis", command=redis_command(port, root / "redis")))
    wait_until_listening(port)
