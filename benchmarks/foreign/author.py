"""What a model's author gets: Pillow, NumPy and the library that the model is of; no batchsight.

    python -m benchmarks.foreign.author MODEL FILE PHOTOGRAPHS OUTPUT.npz

Writes the names of the photographs and their probabilities (N, classes).
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.foreign.recipes import RECIPES, Recipe
from benchmarks.foreign.scales import Floats, scaled

AT_ONCE = 32


def probabilities(recipe: Recipe, path: Path, photographs: list[Path]) -> Floats:
    """Of each photograph."""
    images = np.stack([recipe.read(file) for file in photographs])
    outputs = predict(recipe, path, scaled(images.astype(np.float32), recipe.scale))
    if recipe.activation is None:
        powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        outputs = powers / powers.sum(axis=1, keepdims=True)
    return np.hstack([1 - outputs, outputs]) if recipe.classes == 1 else outputs


def predict(recipe: Recipe, path: Path, images: Floats) -> Floats:
    """With the library that the file is of."""
    model: Any
    if recipe.policy != "float32":
        use_one_thread()
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        name = session.get_inputs()[0].name
        planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        return in_parts(lambda part: session.run(None, {name: part})[0], planes)
    if recipe.library == "tf_keras":
        import tf_keras

        model = tf_keras.models.load_model(path, compile=False)
        return np.asarray(model.predict(images, batch_size=AT_ONCE, verbose=0))
    if path.suffix:
        import keras

        model = keras.saving.load_model(path, compile=False)
        return np.asarray(model.predict(images, batch_size=AT_ONCE, verbose=0))
    import tensorflow as tf

    serve = tf.saved_model.load(path).signatures["serving_default"]
    (name,) = serve.structured_input_signature[1]
    return in_parts(lambda part: next(iter(serve(**{name: tf.constant(part)}).values())), images)


def use_one_thread() -> None:
    """As a worker's process: half-precision sums of several threads are up to 0.0004 elsewhere."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def in_parts(run: Any, images: Floats) -> Floats:
    """Outputs of all images, some at a time."""
    starts = range(0, len(images), AT_ONCE)
    return np.concatenate([np.asarray(run(images[i : i + AT_ONCE])) for i in starts])


if __name__ == "__main__":
    name, file, folder, output = sys.argv[1:]
    files = sorted(Path(folder).iterdir())
    found = probabilities(RECIPES[name], Path(file), files)
    np.savez(output, names=[file.name for file in files], probabilities=found)
