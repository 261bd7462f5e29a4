"""What large libraries find while they are imported."""

import sys
from pathlib import Path

import pytest

from messaging.heavy_imports import KERAS_EXTRAS, hidden
from tests.processes import modules_after


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


@pytest.mark.parametrize(
    "program",
    [
        "import worker.predictor",
        "from trainer.training import import_tensorflow; import_tensorflow(1)",
    ],
)
def test_tensorflow_comes_without_what_keras_merely_likes_to_have(program: str) -> None:
    loaded = modules_after(program)
    assert {"tensorflow", "keras"} <= loaded
    assert not loaded.intersection(KERAS_EXTRAS)
