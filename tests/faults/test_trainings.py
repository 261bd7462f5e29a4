"""Trainings that are killed and started again."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from storage.models.store import ModelStore
from tests.faults.conftest import House
from tests.processes import Program

EPOCHS = 14


def start_training(house: House, name: str, log: str) -> Program:
    """The network with all that is random: shuffling, dropout, augmentation; and early stopping."""
    command = [sys.executable, "-m", "trainer.cli", "train", "--dataset", "digits"]
    command += ["--network", "cnn", "--augment", "--epochs", str(EPOCHS), "--name", name]
    program = Program(command, house.folder / f"{log}.log", house.environment)
    house.programs.append(program)
    return program


def finish(program: Program) -> str:
    program.wait_for_log("test accuracy", seconds=200)
    return program.log


def checkpoints(house: House) -> list[Path]:
    models = house.storage / "models"
    return [*models.glob("killed/.training-*"), *models.glob("undisturbed/.training-*")]


def weights(house: House, name: str) -> list[Any]:
    import keras

    version = ModelStore(house.storage).version(name, 1)
    model = keras.saving.load_model(version.on("tensorflow").model_path)
    return [*model.get_weights(), *(np.asarray(v) for v in model.optimizer.variables)]


def test_a_killed_training_goes_on_and_gives_the_model_of_an_undisturbed_one(house: House) -> None:
    first = start_training(house, "killed", "first")
    first.wait_for_log("epoch  2/")
    first.kill()
    (checkpoint,) = checkpoints(house)
    second = start_training(house, "killed", "second")
    second.wait_for_log("\nepoch", times=2)
    second.kill()
    assert ModelStore(house.storage).numbers("killed") == []
    assert checkpoints(house) == [checkpoint]

    log = finish(start_training(house, "killed", "third"))
    went_on = int(log.partition("going on after epoch ")[2].partition("/")[0])
    assert 4 <= went_on < EPOCHS
    assert f"\nepoch {went_on:2}/" not in log
    assert f"\nepoch {went_on + 1:2}/" in log
    assert checkpoints(house) == []

    assert "going on" not in finish(start_training(house, "undisturbed", "undisturbed"))
    for one, other in zip(weights(house, "killed"), weights(house, "undisturbed"), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
    ours, theirs = (
        ModelStore(house.storage).version(name, 1).manifest for name in ("killed", "undisturbed")
    )
    assert ours.evaluation == theirs.evaluation
    for figure in set(ours.metrics) - {"seconds"}:
        assert ours.metrics[figure] == theirs.metrics[figure]
    assert checkpoints(house) == []
