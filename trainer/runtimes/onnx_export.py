"""`python -m trainer.runtimes.onnx_export`: a version's Keras model as ONNX, in a clean process.

Both files lie in the version's folder, and both take raw pixels and give probabilities.
"""

import signal
import sys
from pathlib import Path

import onnx
from pydantic import BaseModel

from imaging.images import Shape
from process.keras_errors import reason_of
from storage.models.store import MODEL_FILE, ONNX_FILE, check_archive
from trainer.errors import ExaminationFailed
from trainer.importing.originals.opening import start_keras
from trainer.limited_process import GRACE_SECONDS, ask
from trainer.runtimes.broad_constants import broaden_constants

PROGRAM = "trainer.runtimes.onnx_export"
COPIES = 20
"""So many times the size of a file its conversion may take beyond the limit for any version."""


class Question(BaseModel, frozen=True):
    folder: Path
    shape: Shape
    seconds: int
    """After which the process ends itself, should nobody be left to do it."""


class Answer(BaseModel, frozen=True):
    problem: str = ""


def export_onnx(folder: Path, shape: Shape, *, seconds: float, megabytes: float) -> None:
    """Write `model.onnx` beside `model.keras`; raises `ExaminationFailed`."""
    question = Question(folder=folder, shape=shape, seconds=round(seconds + GRACE_SECONDS))
    megabytes += COPIES * (folder / MODEL_FILE).stat().st_size / 1e6
    answer = ask(PROGRAM, question, Answer, "it", seconds=seconds, megabytes=megabytes)
    if answer.problem:
        raise ExaminationFailed(answer.problem)


def main() -> None:
    """Answer one question."""
    question = Question.model_validate_json(sys.stdin.buffer.read())
    signal.alarm(question.seconds)
    path = question.folder / MODEL_FILE
    check_archive(path, str(path))
    start_keras()
    import keras
    import tensorflow as tf

    from trainer.runtimes.onnx_conversion import onnx_of

    @tf.function(
        input_signature=[tf.TensorSpec((None, *question.shape), tf.uint8)], autograph=False
    )
    def predict(images: tf.Tensor) -> tf.Tensor:
        (probabilities,) = keras.tree.flatten(model(images, training=False))
        return tf.cast(probabilities, tf.float32)

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        graph = onnx_of(predict)
        broaden_constants(graph)
        onnx.save_model(graph, question.folder / ONNX_FILE)
    except Exception as error:  # Keras and tf2onnx raise whatever they run into
        print(Answer(problem=reason_of(error)).model_dump_json())
        return
    print(Answer().model_dump_json())


if __name__ == "__main__":
    main()
