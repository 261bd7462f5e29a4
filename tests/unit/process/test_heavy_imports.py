"""What large libraries find while they are imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from process.heavy_imports import KERAS_EXTRAS, hidden
from tests.processes import REPOSITORY, modules_after


def test_a_hidden_package_cannot_be_imported_in_the_block_and_can_be_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "extra.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="extra"), hidden("extra", "never_installed"):
        __import__("extra")
    assert "never_installed" not in sys.modules
    __import__("extra")
    with hidden("extra"):
        assert __import__("extra").__name__ == "extra"
    assert "extra" in sys.modules


PROGRAMS = pytest.mark.parametrize(
    "program",
    [
        "from worker.runtimes.startup import start_tensorflow; start_tensorflow()",
        "from trainer.training.train import import_tensorflow; import_tensorflow(1)",
    ],
)


@PROGRAMS
def test_tensorflow_comes_without_what_keras_merely_likes_to_have(program: str) -> None:
    loaded = modules_after(program)
    assert {"tensorflow", "keras"} <= loaded
    assert not loaded.intersection(KERAS_EXTRAS)


HOSTILE = {
    "KERAS_BACKEND": "torch",
    "KERAS_MAX_EPOCHS": "1",
    "KERAS_MAX_STEPS_PER_EPOCH": "1",
    "KERAS_NNX_ENABLED": "1",
    "TF_USE_LEGACY_KERAS": "1",
}
KERAS_JSON = {
    "backend": "jax",
    "floatx": "float16",
    "epsilon": 0.1,
    "image_data_format": "channels_first",
    "max_epochs": 1,
    "max_steps_per_epoch": 1,
}
TELL = """
import keras, tensorflow as tf
c = keras.config
print(c.backend(), c.floatx(), c.epsilon(), c.image_data_format(), c.max_epochs(),
      c.max_steps_per_epoch(), c.is_nnx_enabled(), tf.keras.__version__ == keras.__version__)
"""


@PROGRAMS
@pytest.mark.parametrize("home", ["HOME", "KERAS_HOME"])
def test_keras_is_the_same_whatever_environment_and_home_say(
    tmp_path: Path, program: str, home: str
) -> None:
    folder = tmp_path / ".keras" if home == "HOME" else tmp_path
    folder.mkdir(exist_ok=True)
    (folder / "keras.json").write_text(json.dumps(KERAS_JSON))
    done = subprocess.run(
        [sys.executable, "-c", program + TELL],
        cwd=REPOSITORY,
        env={**os.environ, **HOSTILE, home: str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "tensorflow float32 1e-07 channels_last None None False True\n"
