"""Writes a model as its author would, with random weights and predictions of many classes.

python -m benchmarks.foreign.networks MODEL FILE PHOTOGRAPHS
"""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.foreign.recipes import RECIPES, Recipe
from benchmarks.foreign.scales import scaled

MOST_PHOTOGRAPHS = 48
LOGITS = 3.0
"""Standard deviation of each class over the photographs: some are sure, and some are not."""


def write(recipe: Recipe, path: Path, photographs: Path) -> None:
    """Make a network, calibrate it on some photographs, and save it."""
    library: Any = importlib.import_module(recipe.library)
    library.utils.set_random_seed(0)
    library.mixed_precision.set_global_policy(recipe.policy)
    side = None if recipe.any_size else recipe.side
    alpha = {} if recipe.width == 1 else {"alpha": recipe.width}
    base = getattr(library.applications, recipe.application)(
        include_top=False, weights=None, pooling="avg", input_shape=(side, side, 3), **alpha
    )
    head = library.layers.Dense(
        recipe.classes, activation=recipe.activation, dtype="float32", name="predictions"
    )
    if recipe.inside:
        pixels = library.Input((side, side, 3))
        ready = library.applications.mobilenet_v2.preprocess_input(pixels)
        model = library.Model(pixels, head(base(ready, training=False)))
    else:
        model = library.Model(base.inputs, head(base.outputs[0]))
    files = sorted(photographs.iterdir())[:MOST_PHOTOGRAPHS]
    read = np.stack([recipe.read(file) for file in files]).astype(np.float32)
    calibrate(library, base, head, scaled(read, "-1..1" if recipe.inside else recipe.scale))
    save(model, recipe, path)


def calibrate(library: Any, base: Any, head: Any, images: NDArray[np.float32]) -> None:
    """Have each layer and each class see a spread, as training would.

    A trained head tells images apart by that in which they differ, and hears no rounding elsewhere.
    """
    norms = [layer for layer in base.layers if isinstance(layer, library.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    base(images, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    features = np.asarray(base.predict(images, verbose=0), np.float64)
    middle = features.mean(axis=0)
    axes = np.linalg.svd(features - middle, full_matrices=False)[2][: len(images) // 2]
    kernel = axes.T @ np.random.default_rng(0).normal(0, 1, (len(axes), head.units))
    kernel *= LOGITS / (features @ kernel).std(axis=0)
    head.set_weights([kernel, -(middle @ kernel)])


def save(model: Any, recipe: Recipe, path: Path) -> None:
    """In the format of the file's ending."""
    if path.suffix == ".onnx":
        save_onnx(model, recipe.side, path)
    elif path.suffix or recipe.library == "tf_keras":
        model.save(path)
    else:
        model.export(path, verbose=False)


def save_onnx(model: Any, side: int, path: Path) -> None:
    """With channels first, as PyTorch exports it."""
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((None, side, side, 3), tf.float32, name="images")]
    tf2onnx.convert.from_function(
        tf.function(lambda images: model(images, training=False), input_signature=signature),
        input_signature=signature,
        inputs_as_nchw=["images:0"],
        opset=18,
        output_path=path,
    )


if __name__ == "__main__":
    name, file, folder = sys.argv[1:]
    write(RECIPES[name], Path(file), Path(folder))
