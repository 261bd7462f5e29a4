"""What a child of the worker's pool does before its first batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import REPOSITORY

PREPARE = """
import sys
from worker.celery import app
from worker.pool.child_startup import prepare_child
from worker.runtimes.startup import start_tensorflow
app.conf.worker_concurrency = {children}
prepare_child()
print("tensorflow" in sys.modules)
start_tensorflow()
from tensorflow import config
print(config.threading.get_intra_op_parallelism_threads(),
      config.threading.get_inter_op_parallelism_threads())
"""


@pytest.mark.parametrize("children", [1, 8])
def test_a_child_has_one_tensorflow_thread_however_many_children_there_are_and_none_in_vain(
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
    assert done.stdout.split() == ["False", "1", "1"]
