"""`docker compose` with a project, images, ports and settings of its own."""

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local.redis_server import choose_port
from tests.processes import REPOSITORY

ARTEFACTS = REPOSITORY / "build" / "compose"
USER = "reader"
BROWSER = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--window-size=1500,900", "--virtual-time-budget=10000"),
)


class Containers:
    """The system as its user runs it, settings and all."""

    def __init__(self) -> None:
        name = f"batchsight-test-{secrets.token_hex(3)}"
        self.flower_port = choose_port()
        self.settings = {
            "COMPOSE_PROJECT_NAME": name,
            "IMAGES": "batchsight-test",
            "FLOWER_PORT": str(self.flower_port),
            "FLOWER_USER": USER,
            "BATCHSIGHT_CONCURRENCY": "1",
            "BATCHSIGHT_LEASE_SECONDS": "6",
        }

    def compose(self, *arguments: str, check: bool = True, seconds: float = 600.0) -> str:
        """Run `docker compose` to its end; returns what it prints on stdout."""
        done = subprocess.run(
            ["docker", "compose", *arguments],
            cwd=REPOSITORY,
            env={**os.environ, **self.settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(
                f"docker compose {' '.join(arguments)}: exit code {done.returncode}\n"
                f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
            )
        return done.stdout

    def build(self) -> None:
        """Build all images; the first time takes minutes."""
        self.compose("--profile", "*", "build", seconds=1500)

    def up(self, *arguments: str) -> None:
        """`docker compose up --detach`, and wait until all that runs is healthy.

        Its own `--wait` takes the end of the bootstrap for a failure.
        """
        self.compose("up", "--detach", *arguments)
        wait_until(
            lambda: all(state in ("healthy", "") for state in self.states()),
            "all containers are healthy",
            400,
        )

    def states(self) -> list[str]:
        """The state of health of all containers that run, empty for one without a check."""
        lines = self.compose("ps", "--format", "json").splitlines()
        return [json.loads(line)["Health"] for line in lines]

    def remove(self) -> None:
        """Take everything down, volumes included; keep the logs."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        (ARTEFACTS / "containers.log").write_text(
            self.compose("logs", "--no-color", "--timestamps", check=False)
        )
        self.compose(
            *("--profile", "*"),
            *("down", "--volumes", "--timeout", "30"),
            check=False,
        )

    def producer(self, *arguments: str, seconds: float = 600.0) -> str:
        """`docker compose run --rm producer ...`, as a user types it."""
        return self.compose("run", "--rm", "-T", "producer", *arguments, seconds=seconds)

    def trainer(self, *arguments: str) -> str:
        """A command of the trainer, in its container."""
        return self.compose("exec", "-T", "trainer", "trainer", *arguments)

    def submit(self, *arguments: str) -> dict[str, Any]:
        """Submit and follow a job; returns its summary."""
        summary: dict[str, Any] = json.loads(self.producer("submit", *arguments, "--json"))
        return summary

    def digest(self, job: str) -> str:
        """SHA-256 of a job's predictions."""
        command = ("run", "--rm", "-T", "--no-deps", "--entrypoint", "sha256sum", "producer")
        path = f"/storage/jobs/{job}/predictions.parquet"
        return self.compose(*command, path).split()[0]

    def redis(self, *arguments: str) -> str:
        """A command of Redis, as its administrator."""
        command = 'redis-cli --user admin --pass "$(cat /run/secrets/admin)" --no-auth-warning "$@"'
        return self.compose("exec", "-T", "redis", "sh", "-c", command, "sh", *arguments)

    def ids(self, service: str) -> list[str]:
        """The running containers of a service."""
        return self.compose("ps", "--quiet", service).split()

    def health(self, service: str) -> list[str]:
        """The state of health of each running container of a service."""
        form = "{{.State.Health.Status}}"
        command = ["docker", "inspect", "--format", form, *self.ids(service)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    def docker(self, *arguments: str) -> str:
        """Run `docker` itself."""
        command = ["docker", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def browse(self, page: str, picture: str) -> str:
        """The text of a page of Flower in a real browser, and a screenshot of it."""
        password = self.compose("exec", "-T", "flower", "cat", "/run/secrets/flower")
        url = f"http://{USER}:{password}@127.0.0.1:{self.flower_port}{page}"
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        picture_option = f"--screenshot={ARTEFACTS / picture}"
        self._chromium(picture_option, url)
        return self._chromium("--dump-dom", url)

    def _chromium(self, *arguments: str) -> str:
        browser = shutil.which("chromium") or shutil.which("google-chrome")
        assert browser, "Chromium is missing: install the package chromium."
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            done = subprocess.run(
                [browser, *BROWSER, f"--user-data-dir={profile}", *arguments],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 180.0) -> None:
    """Like `tests.processes.wait_for`, but in no haste: every look starts a process."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(1)
    raise AssertionError(f"Waited {seconds:.0f} s in vain: {what}.")


def written(path: Path) -> bool:
    """Whether an artefact is there."""
    return path.is_file() and path.stat().st_size > 10_000
