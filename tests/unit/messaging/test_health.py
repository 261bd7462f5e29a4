"""The health check of containers, as Docker runs it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from messaging.health import FRESH_SECONDS, VARIABLE, send_heartbeat
from tests.processes import REPOSITORY


def check(path: Path | str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "messaging.health"],
        cwd=REPOSITORY,
        env={**os.environ, VARIABLE: str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_program_is_healthy_for_as_long_as_it_gives_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "alive"
    assert check(path).returncode == 1  # it has not begun
    monkeypatch.setenv(VARIABLE, str(path))
    send_heartbeat(sender="any")
    assert check(path).returncode == 0
    old = time.time() - FRESH_SECONDS - 5
    os.utime(path, (old, old))
    hung = check(path)
    assert hung.returncode == 1
    assert "25 s old" in hung.stdout
    send_heartbeat()
    assert check(path).returncode == 0


def test_a_program_without_a_health_file_gives_no_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    send_heartbeat()
    assert check("").returncode == 1


def test_the_check_imports_nothing_that_is_slow(tmp_path: Path) -> None:
    imported = check(tmp_path).stderr
    assert "messaging.health" in imported or "messaging" in imported
    for heavy in ("celery", "redis", "pydantic", "tensorflow", "numpy"):
        assert f" {heavy}\n" not in imported
