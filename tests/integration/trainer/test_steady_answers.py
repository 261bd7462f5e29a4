"""What a network answers to an image hangs on that image alone, or it is not published.

Told by plain ONNX Runtime, given one image at a time.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from imaging.scalings import NONE
from trainer.errors import ImportFailed
from trainer.importing.conversions import Conversion, ConversionRequest
from trainer.importing.convert import convert
from trainer.training.train import import_tensorflow
from worker.runtimes.onnx import OnnxPredictor

import_tensorflow(1)
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import tf_keras  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of Keras' older format

LABELS = ("ant", "bee", "cat", "dog", "eel")
SIDE = 16
MATRIX = (np.random.default_rng(5).normal(0, 1, (3, 5)) / 60).astype(np.float32)
Node = tuple[str, list[str], str, dict[str, Any]]


def save_graph(path: Path, *start: Node, batch: int | str = "n") -> None:
    """What `start` makes "v" of the images "x", its mean over each image, and five classes."""
    nodes: list[Node] = [
        *start,
        ("ReduceMean", ["v"], "mean", {"axes": [1, 2], "keepdims": 0}),
        ("MatMul", ["mean", "matrix"], "logits", {}),
        ("Softmax", ["logits"], "classes", {"axis": 1}),
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, given, [made], **how) for kind, given, made, how in nodes],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("classes", TensorProto.FLOAT, [batch, 5])],
        [
            numpy_helper.from_array(MATRIX, "matrix"),
            numpy_helper.from_array(np.array(20, np.float32), "dark"),
            numpy_helper.from_array(np.array(0.5, np.float32), "half"),
            numpy_helper.from_array(np.array(True), "yes"),
        ],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path
    )


def mean_over(*axes: int) -> tuple[Node, ...]:
    """How far bright pixels are from the mean over these axes: nothing for pixels of 0 to 1."""
    return (
        ("Sub", ["x", "dark"], "less", {}),
        ("Relu", ["less"], "bright", {}),
        ("ReduceMean", ["bright"], "middle", {"axes": list(axes), "keepdims": 1}),
        ("Sub", ["bright", "middle"], "apart", {}),
        ("Abs", ["apart"], "v", {}),
    )


def converted(path: Path) -> Conversion:
    artefact = path.parent / "artefact"
    artefact.mkdir()
    return convert(
        ConversionRequest(path=path, folder=artefact, labels=LABELS, scaling=NONE, seconds=300)
    )


def test_a_fixed_batch_stays_where_images_would_be_mixed(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    save_graph(path, *mean_over(0, 1, 2), batch=1)
    conversion = converted(path)
    pixels = np.random.default_rng(3).integers(0, 256, (6, SIDE, SIDE, 3), np.uint8)
    pixels //= np.arange(1, 7, dtype=np.uint8).reshape(6, 1, 1, 1)
    session = onnxruntime.InferenceSession(path)
    expected = [session.run(None, {"x": image[None].astype(np.float32)})[0] for image in pixels]
    model = OnnxPredictor(tmp_path / "artefact" / "model.onnx", conversion.shape, 5)
    np.testing.assert_allclose(model(pixels), np.concatenate(expected), atol=1e-6)


def mixing_graph(path: Path) -> None:
    save_graph(path, *mean_over(0))


def mixing_graph_of_four(path: Path) -> None:
    save_graph(path, *mean_over(0), batch=4)


def mixing_keras(path: Path) -> None:
    pixels = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.GlobalAveragePooling2D()(pixels - keras.ops.mean(pixels, axis=0))
    keras.Model(pixels, keras.layers.Dense(5, activation="softmax")(x)).save(path)


def mixing_keras_2(path: Path) -> None:
    pixels = tf_keras.Input((SIDE, SIDE, 3))
    x = tf_keras.layers.GlobalAveragePooling2D()(pixels - tf.reduce_mean(pixels, axis=0))
    tf_keras.Model(pixels, tf_keras.layers.Dense(5, activation="softmax")(x)).save(path)


@pytest.mark.parametrize(
    ("save", "name"),
    [
        (mixing_graph, "net.onnx"),
        (mixing_graph_of_four, "net.onnx"),
        (mixing_keras, "net.keras"),
        (mixing_keras_2, "net.h5"),
    ],
)
def test_a_network_that_mixes_the_images_of_a_batch_is_refused(
    tmp_path: Path, save: Any, name: str
) -> None:
    save(tmp_path / name)
    with pytest.raises(ImportFailed, match="answer depends on the others of its batch"):
        converted(tmp_path / name)


def noisy_graph(path: Path) -> None:
    """So little noise that it only shows where the network is in doubt."""
    save_graph(
        path, ("RandomNormalLike", ["x"], "noise", {"scale": 9.0}), ("Add", ["x", "noise"], "v", {})
    )


def dropping_graph(path: Path) -> None:
    """Dropout as in training."""
    save_graph(path, ("Dropout", ["x", "half", "yes"], "v", {}))


def noisy_module(path: Path) -> None:
    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32)])
        def __call__(self, x: Any) -> Any:
            noise = tf.random.normal(tf.shape(x), stddev=9.0)
            return tf.nn.softmax(tf.reduce_mean(x + noise, axis=[1, 2]) @ MATRIX)

    tf.saved_model.save(Module(), path)


@pytest.mark.parametrize(
    ("save", "name", "sentence"),
    [
        (noisy_graph, "net.onnx", "its graph holds RandomNormalLike, which draws random numbers"),
        (dropping_graph, "net.onnx", "answers the same image differently each time"),
        (noisy_module, "net", "its graph holds RandomNormalLike, which draws random numbers"),
    ],
)
def test_a_network_that_leaves_something_to_chance_is_refused(
    tmp_path: Path, save: Any, name: str, sentence: str
) -> None:
    save(tmp_path / name)
    with pytest.raises(ImportFailed, match=sentence):
        converted(tmp_path / name)
