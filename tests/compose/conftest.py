"""A system of containers of its own for these tests, taken down with its volumes in the end."""

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.compose.containers import Containers

MISSING: list[str] = []


def missing() -> str | None:
    """Why these tests cannot run here."""
    if not shutil.which("docker"):
        return "there is no `docker` command"
    for command in (["docker", "version"], ["docker", "compose", "version"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"`{' '.join(command)}` fails: {done.stderr.strip()}"
    return None


@pytest.fixture(scope="session")
def containers() -> Iterator[Containers]:
    """Built and empty; nothing is up yet."""
    reason = missing()
    if reason:
        MISSING.append(reason)
        pytest.skip(reason)
    system = Containers()
    try:
        system.build()
        yield system
    finally:
        system.remove()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it so that nobody overlooks it: a skipped test proves nothing."""
    if MISSING:
        terminalreporter.section("THE CONTAINERS WERE NOT TESTED", sep="!", red=True, bold=True)
        terminalreporter.line(f"All tests of tests/compose were skipped: {MISSING[0]}.")
