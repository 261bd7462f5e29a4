"""What a child of the worker's pool does before its first batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import REPOSITORY

PREPARE = """
from worker.celery import app
from worker.pool.child_startup import prepare_child
app.conf.worker_concurrency = {children}
prepare_child()
from tensorflow import config
print(config.threading.get_intra_op_parallelism_threads(),
      config.threading.get_inter_op_parallelism_threads())
"""


@pytest.mark.parametrize("children", [1, 8])
def test_a_child_has_one_tensorflow_thread_however_many_children_there_are(
    tmp_path: Path, children: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PREPARE.format(children=children)],
        cwd=REPOSITORY,
        env={**os.environ, "BATCHSIGHT_STORAGE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "1"]
