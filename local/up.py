"""`python -m local up`: everything in the foreground, one log."""

import os
import signal
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
from storage.settings import storage_settings

FLOWER_PORT = 5555
DESK_PORT = 5556
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
    """Lines of many programs, each with a coloured prefix."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, name: str, line: str) -> None:
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

    with Programs(environment, log) as programs:
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
        log("local", f"storage {root}")
        log("local", f"desk http://127.0.0.1:{desk_port}")
        log("local", f"Flower http://127.0.0.1:{flower_port}")
        if configured:
            log("local", "Redis is that of BATCHSIGHT_REDIS_URL: unset it, and one is started")
        if port not in (0, DEFAULT_PORT):
            tell_moved(log, DEFAULT_PORT, "BATCHSIGHT_REDIS_URL", url)
        if flower_port != FLOWER_PORT:
            flower_url = f"http://127.0.0.1:{flower_port}"
            tell_moved(log, FLOWER_PORT, "BATCHSIGHT_FLOWER_URL", flower_url)
        log("local", "Ctrl-C stops everything")
        try:
            programs.keep_running()
        except KeyboardInterrupt:
            log("local", "stopping; running batches are finished first")


def tell_moved(log: Log, port: int, setting: str, url: str) -> None:
    """Tell how other shells find what listens elsewhere because its usual port was taken."""
    log("local", f"port {port} is taken. In other shells, first:")
    log("local", f"    export {setting}={url}")


def start_redis(programs: Programs, port: int, root: Path) -> None:
    """Start Redis with its data below the storage root, and wait for it."""
    programs.start(Program(name="redis", command=redis_command(port, root / "redis")))
    wait_until_listening(port)
