"""The file that a killed training goes on from."""

import os
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.training.checkpoint import ABANDONED_SECONDS, Checkpoint, Progress, sweep_abandoned
from trainer.training.progress import EpochReport

REPORT = EpochReport(
    epoch=1, epochs=2, accuracy=0.5, val_accuracy=0.6, loss=1.5, val_loss=1 / 3, seconds=3.0
)
STATE: list[NDArray[Any]] = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.array(7, np.int64),
    *(np.full(2, number, np.float32) for number in range(20)),
]
SHAPES = [array.shape for array in STATE]
PROGRESS = Progress(history=[REPORT], state=STATE, best=[np.ones(3, np.float32)])


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint.of(tmp_path / "digits", {"seed": 1})


def test_what_is_written_is_read_to_the_bit(checkpoint: Checkpoint) -> None:
    checkpoint.write(Progress(history=[REPORT, REPORT]))
    checkpoint.write(PROGRESS)
    found = checkpoint.read(SHAPES)
    assert found.history == [REPORT]
    for before, after in zip([*STATE, *PROGRESS.best], [*found.state, *found.best], strict=True):
        np.testing.assert_array_equal(before, after, strict=True)
    assert list(checkpoint.path.parent.iterdir()) == [checkpoint.path]


def test_without_a_file_a_training_begins_with_its_first_epoch(checkpoint: Checkpoint) -> None:
    assert checkpoint.read(SHAPES) == Progress()
    checkpoint.remove()


def test_another_training_has_another_file(tmp_path: Path, checkpoint: Checkpoint) -> None:
    assert Checkpoint.of(tmp_path / "digits", {"seed": 1}).path == checkpoint.path
    assert Checkpoint.of(tmp_path / "digits", {"seed": 2}).path != checkpoint.path


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "pickle"])
def test_a_damaged_file_is_told_and_begun_anew(
    checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    checkpoint.write(PROGRESS)
    content = bytearray(checkpoint.path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "changed":
        content[content.index(STATE[0].tobytes()) + 5] ^= 1
    elif damage == "empty":
        content.clear()
    else:
        content = bytearray(pickle.dumps([1]))
    checkpoint.path.write_bytes(content)
    assert checkpoint.read(SHAPES) == Progress()
    assert "is damaged" in caplog.text


def test_a_file_with_python_objects_in_it_is_refused(
    checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture
) -> None:
    with checkpoint.path.open("wb") as file:
        np.savez(file, allow_pickle=True, history=np.array([{"epoch": 1}], dtype=object))
    assert checkpoint.read(SHAPES) == Progress()
    assert "is damaged" in caplog.text


def test_a_file_of_another_network_is_not_gone_on_from(
    checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint.write(PROGRESS)
    assert checkpoint.read(SHAPES[1:]) == Progress()
    assert "another network" in caplog.text


def test_files_that_nobody_went_on_from_for_a_week_are_removed(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    checkpoint.write(PROGRESS)
    old = Checkpoint.of(tmp_path / "other", {"seed": 2})
    old.write(PROGRESS)
    torn = old.path.with_name(f".new-{old.path.name}-0123")
    torn.write_bytes(b"half a file")
    model = old.path.with_name("champion.json")
    model.write_text("{}")
    for path in (old.path, torn, model):
        long_ago = time.time() - ABANDONED_SECONDS - 60
        os.utime(path, (long_ago, long_ago))
    sweep_abandoned(tmp_path)
    assert checkpoint.path.exists()
    assert list(old.path.parent.iterdir()) == [model]
