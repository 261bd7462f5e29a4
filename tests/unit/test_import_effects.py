"""Importing a module configures nothing and reads no setting: programs do, when they begin."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.processes import REPOSITORY

PACKAGES = (
    *("console", "process", "imaging", "evaluation", "messaging", "storage", "dispatch"),
    *("worker", "producer", "trainer", "monitor", "desk", "local"),
)
APPS = {
    *("worker/celery.py", "worker/tasks.py", "worker/pool/heartbeat.py"),
    *("worker/pool/child_startup.py", "trainer/celery.py", "trainer/tasks.py", "monitor/flower.py"),
}
"""Celery's programs begin with the import of their app, and of what the app includes."""
UNUSABLE = {
    "BATCHSIGHT_REDIS_URL": "nonsense",
    "BATCHSIGHT_LEASE_SECONDS": "never",
    "BATCHSIGHT_CONCURRENCY": "all",
    "BATCHSIGHT_MAX_IN_FLIGHT": "most",
    "BATCHSIGHT_GATE_ALPHA": "beta",
    "BATCHSIGHT_METRICS_PORT": "starboard",
    "BATCHSIGHT_DESK_PORT": "larboard",
}


def effects(folder: Path, paths: Sequence[str]) -> dict[str, list[str]]:
    """By module what its import changes in a fresh process, where no setting is of any use."""
    # What a test before this one has imported may have set for Flower is not inherited.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("FLOWER_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.import_probe", *paths],
        cwd=folder,
        env={**inherited, **UNUSABLE, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return {name: what for name, what in found.items() if what}


def test_importing_a_module_configures_nothing_but_an_app_of_celery() -> None:
    files = {path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")}
    modules = {str(path.relative_to(REPOSITORY)) for path in files}
    assert modules > APPS
    assert effects(REPOSITORY, [*sorted(modules - APPS), *sorted(APPS)]) == {
        "monitor.flower": ["environment"],
        "trainer.celery": ["exit handlers", "Celery's signals"],  # of the first weak reference
        "worker.celery": ["Celery's signals"],
        "worker.pool.heartbeat": ["Celery's signals"],
        "worker.pool.child_startup": ["Celery's signals"],
    }


CONNECTED = """
from celery.signals import beat_init

@beat_init.connect
def begin(**_): ...
"""


@pytest.mark.parametrize(
    ("code", "effect"),
    [
        ("import signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN)", "signal handlers"),
        ("import sys; sys.meta_path.insert(0, None)", "import system"),
        ("import gc; gc.set_threshold(1)", "garbage collector"),
        ("import os; os.environ['BATCHSIGHT_STORAGE'] = '/'", "environment"),
        ("import logging; logging.getLogger('PIL').setLevel(50)", "logging"),
        ("import warnings; warnings.simplefilter('ignore')", "warnings"),
        ("import atexit; atexit.register(print)", "exit handlers"),
        ("import threading, time; threading.Timer(0.5, print).start()", "threads"),
        (CONNECTED, "Celery's signals"),
        ("raise SystemExit('error: nonsense')", "SystemExit: error: nonsense"),
    ],
)
def test_what_an_import_configures_would_be_noticed(tmp_path: Path, code: str, effect: str) -> None:
    (tmp_path / "guilty").mkdir()
    (tmp_path / "guilty" / "module.py").write_text(code + "\n")
    found = effects(tmp_path, ["guilty/module.py"])
    assert effect in found["guilty.module"]
