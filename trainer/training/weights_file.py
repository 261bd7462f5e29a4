"""`python -m trainer.training.weights_file`: weights from elsewhere, read in a clean process.

Whoever trains gets plain arrays of them and never opens the file.
"""

import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from imaging.images import Shape
from process.keras_errors import reason_of
from trainer.errors import ExaminationFailed, TrainingFailed
from trainer.limited_process import GRACE_SECONDS, ask
from trainer.training.backbones import BACKBONES

PROGRAM = "trainer.training.weights_file"
SECONDS = 120.0
MEGABYTES = 3000.0
SUFFIX = ".h5"


class Question(BaseModel, frozen=True):
    path: Path
    network: str
    shape: Shape
    target: Path
    """The archive of arrays to write."""


class Answer(BaseModel, frozen=True):
    problem: str = ""


def read_weights(path: Path, network: str, shape: Shape, folder: Path) -> list[NDArray[Any]]:
    """The weights of a backbone in a file of Keras, in the order of its variables.

    `folder` takes what lies between the two processes. Raises `TrainingFailed`.
    """
    if path.suffix != SUFFIX:
        raise TrainingFailed(f"{path} is no file of weights: its name must end in .h5.")
    if not path.is_file():
        raise TrainingFailed(f"There is no file of weights {path}.")
    question = Question(
        path=path.absolute(), network=network, shape=shape, target=folder.absolute() / "weights.npz"
    )
    try:
        answer = ask(PROGRAM, question, Answer, str(path), seconds=SECONDS, megabytes=MEGABYTES)
    except ExaminationFailed as error:
        raise TrainingFailed(f"{error}.".replace("..", ".")) from None
    if answer.problem:
        raise TrainingFailed(f"{path} has no weights for {network}: {answer.problem}")
    try:
        with np.load(question.target, allow_pickle=False) as arrays:
            return [arrays[name] for name in arrays.files]
    finally:
        question.target.unlink()


def main() -> None:
    """Answer one question."""
    question = Question.model_validate_json(sys.stdin.buffer.read())
    signal.alarm(round(SECONDS + GRACE_SECONDS))
    model = BACKBONES[question.network].build(question.shape)
    try:
        model.load_weights(question.path)
    except Exception as error:  # Keras raises whatever it runs into
        print(Answer(problem=reason_of(error)).model_dump_json())
        return
    np.savez(question.target, *model.get_weights(), allow_pickle=False)
    print(Answer().model_dump_json())


if __name__ == "__main__":
    main()
