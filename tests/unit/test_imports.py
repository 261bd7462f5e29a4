"""TensorFlow is imported in the pool's children only: before the fork it would hang them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import REPOSITORY

PROGRAM = """
import importlib, sys
importlib.import_module(sys.argv[1])
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"tensorflow", "keras"}))
"""


def heavy_imports(module: str, folder: Path) -> str:
    """Which of TensorFlow and Keras a fresh interpreter has loaded after importing `module`."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, module],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "module",
    [
        "worker.celery",
        "worker.tasks",
        "trainer.celery",
        "trainer.tasks",
        "producer.cli",
        "trainer.cli",
        "monitor.flower",
        "monitor.metrics",
        "desk.__main__",
        "local.__main__",
        "messaging.app",
    ],
)
def test_no_entry_point_imports_tensorflow_or_keras(module: str) -> None:
    assert heavy_imports(module, REPOSITORY) == ""


def test_an_import_of_tensorflow_or_keras_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").touch()
    (tmp_path / "keras.py").touch()
    (tmp_path / "guilty.py").write_text("import keras, tensorflow\n")
    assert heavy_imports("guilty", tmp_path) == "keras tensorflow"
