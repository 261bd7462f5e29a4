"""Models from elsewhere give, behind raw pixels, what their author's own recipe gives.

The recipes are plain Keras, tf_keras, NumPy and ONNX Runtime, written out here once more.
"""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from imaging.images import Pixels, Shape
from imaging.preprocessing import DEFAULT
from imaging.scalings import NAMED, NONE, Scaling, parse
from storage.models.contract import Layout, Output
from storage.models.store import FILE_OF
from trainer.errors import ImportFailed
from trainer.importing.check_images import CheckImages
from trainer.importing.conversions import Conversion, ConversionRequest
from trainer.importing.convert import convert
from trainer.training.train import import_tensorflow
from worker.runtimes.onnx import OnnxPredictor
from worker.runtimes.predictor import Predictor

import_tensorflow(1)
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import tf_keras  # noqa: E402

from worker.runtimes.tensorflow import TensorFlowPredictor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of TensorFlow 1 and of Keras' older format

Floats = NDArray[np.float32]
Recipe = Callable[[Floats], Any]
LABELS = ("ant", "bee", "cat", "dog", "eel")
SIDE = 32


def images(shape: Shape = (SIDE, SIDE, 3), count: int = 20) -> Pixels:
    """Coarse noise of different brightness and colour."""
    random = np.random.default_rng(2)
    coarse = random.integers(0, 256, (count, 4, 4, shape[2]))
    rows, columns = (np.arange(side) * 4 // side for side in shape[:2])
    pixels: Pixels = coarse[:, rows][:, :, columns].astype(np.uint8)
    return pixels


def softmax(logits: Any) -> Floats:
    powers = np.exp(np.asarray(logits, np.float64))
    probabilities: Floats = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities


@dataclass(kw_only=True)
class Foreign:
    """A file, what its owner says of it, and what comes of it."""

    path: Path
    scaling: Scaling | None = None
    output: Output | None = None
    layout: Layout | None = None
    labels: tuple[str, ...] = LABELS
    size: tuple[int, int] | None = None

    def convert(self, check: CheckImages | None = None) -> Conversion:
        folder = self.path.parent / "artefact"
        folder.mkdir(exist_ok=True)
        return convert(
            ConversionRequest(
                path=self.path,
                folder=folder,
                labels=self.labels,
                scaling=self.scaling,
                output=self.output,
                layout=self.layout,
                size=self.size,
                check=check,
                seconds=300,
            )
        )

    def load(self, conversion: Conversion) -> Predictor:
        """As a worker does."""
        load = TensorFlowPredictor if conversion.format == "keras" else OnnxPredictor
        path = self.path.parent / "artefact" / FILE_OF[conversion.format]
        return load(path, conversion.shape, len(conversion.labels))


def assert_equal(foreign: Foreign, recipe: Recipe, shape: Shape = (SIDE, SIDE, 3)) -> Conversion:
    """The published version gives what the author gets; answers differ between images."""
    conversion = foreign.convert()
    pixels = images(shape)
    expected = np.asarray(recipe(pixels.astype(np.float32)))
    assert expected.std(axis=0).max() > 0.02, "a network that answers the same to all shows nothing"
    given = foreign.load(conversion)(pixels)
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, expected, atol=1e-5)
    return conversion


def network(
    shape: tuple[int | None, ...] = (SIDE, SIDE, 3),
    *,
    units: int = 5,
    activation: str | None = "softmax",
    library: Any = keras,
    start: Callable[[Any], Any] = lambda x: x,
) -> Any:
    """A small network whose answers hang on the scale and the order of the channels."""
    library.utils.set_random_seed(7)
    pixels = library.Input(shape)
    x = library.layers.Conv2D(8, 3, strides=2, activation="relu", name="conv")(start(pixels))
    x = library.layers.GlobalAveragePooling2D()(x)
    model = library.Model(pixels, library.layers.Dense(units, activation=activation, name="end")(x))
    random = np.random.default_rng(7)
    kernel, bias = model.get_layer("end").get_weights()
    model.get_layer("end").set_weights([random.normal(0, 0.05, kernel.shape), bias])
    return model


def spread(model: Any, scaled: Floats) -> Any:
    """The same network with a last layer that tells these images apart."""
    features = type(model)(model.inputs, model.get_layer("end").input)
    found = np.asarray(features(scaled.astype(np.float32)))
    kernel = np.random.default_rng(7).normal(0, 1, model.get_layer("end").get_weights()[0].shape)
    kernel = kernel / (found @ kernel).std(axis=0)
    model.get_layer("end").set_weights([kernel, -(found @ kernel).mean(axis=0)])
    return model


PREPROCESS = keras.applications.imagenet_utils.preprocess_input
RECIPES: dict[str, Callable[[Floats], Any]] = {
    "none": lambda x: x,
    "0..1": lambda x: x / 255,
    "-1..1": lambda x: PREPROCESS(x.copy(), mode="tf"),
    "imagenet": lambda x: PREPROCESS(x.copy(), mode="torch"),
    "caffe": lambda x: PREPROCESS(x.copy(), mode="caffe"),
    "128/2": lambda x: (x - 128) / 2,
    "120,110,100/50,60,70": lambda x: (x - [120, 110, 100]) / [50, 60, 70],
}
"""By hand, or by Keras."""


@pytest.mark.parametrize("name", RECIPES)
def test_scalings_are_those_of_keras(name: str) -> None:
    pixels = images()
    expected = RECIPES[name](pixels.astype(np.float32))
    np.testing.assert_allclose(parse(name)(pixels), expected, atol=1e-4)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("kind", ["keras", "onnx"])
def test_every_scaling_is_put_around_as_its_author_has_it(
    tmp_path: Path, name: str, kind: str
) -> None:
    model = spread(network(), RECIPES[name](images().astype(np.float32)))
    scaling = parse(name)

    def recipe(x: Floats) -> Any:
        return model.predict_on_batch(RECIPES[name](x).astype(np.float32))

    path = tmp_path / f"net.{kind}"
    if kind == "keras":
        model.save(path)
    else:
        model(np.zeros((1, SIDE, SIDE, 3), np.float32))
        model.export(path, format="onnx", verbose=False)
    conversion = assert_equal(Foreign(path=path, scaling=scaling), recipe)
    assert conversion.contract.scaling == scaling
    assert conversion.format == kind


def test_a_file_that_needs_nothing_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    model = network()
    model.save(path)
    assert_equal(Foreign(path=path, scaling=NONE), model.predict_on_batch)
    assert (tmp_path / "artefact" / "model.keras").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("units", "activation", "recipe", "output"),
    [
        (5, None, softmax, "logits"),
        (5, "log_softmax", np.exp, "log-probabilities"),
        (1, "sigmoid", lambda p: np.hstack([1 - p, p]), "sigmoid"),
        (1, None, lambda x: softmax(np.hstack([0 * x, x])), "sigmoid-logit"),
        (1, "tanh", lambda t: np.hstack([1 - t, 1 + t]) / 2, "tanh"),
    ],
)
@pytest.mark.parametrize("kind", ["keras", "onnx"])
def test_outputs_become_probabilities(
    tmp_path: Path,
    units: int,
    activation: str | None,
    recipe: Callable[[Any], Floats],
    output: Output,
    kind: str,
) -> None:
    model = network(units=units, activation=activation)
    path = tmp_path / f"net.{kind}"
    if kind == "keras":
        model.save(path)
    else:
        model(np.zeros((1, SIDE, SIDE, 3), np.float32))
        model.export(path, format="onnx", verbose=False)
    foreign = Foreign(path=path, scaling=NONE, labels=LABELS if units > 1 else ("no", "yes"))
    conversion = assert_equal(foreign, lambda x: recipe(model.predict_on_batch(x)))
    assert conversion.contract.output == output


def keras_3_h5(path: Path) -> Any:
    model = network()
    model.save(path)
    return model


def keras_2(path: Path) -> Any:
    """With its `preprocess_input` inside, which Keras 3 does not load."""
    model = network(
        library=tf_keras,
        start=lambda x: 40 * tf_keras.applications.mobilenet_v2.preprocess_input(x),
    )
    model.save(path)
    return model


def keras_2_depthwise(path: Path) -> Any:
    """A layer whose options Keras 3 does not take."""
    model = network(library=tf_keras, start=tf_keras.layers.DepthwiseConv2D(3))
    model.save(path)
    return model


def keras_2_scalar(path: Path) -> Any:
    """A number that is added to what a convolution gives, as in MobileNetV3."""
    convolution = tf_keras.layers.Conv2D(3, 3, use_bias=False)
    model = network(library=tf_keras, start=lambda x: tf_keras.activations.relu(convolution(x) + 3))
    model.save(path)
    return model


def saved_by_keras_2(path: Path) -> Any:
    model = network(library=tf_keras)
    model.save(path)
    return model


def exported_by_keras_3(path: Path) -> Any:
    """A class of its author's own, which no other program has."""

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def call(self, pixels: Any) -> Any:
            return self.inner(pixels)

    model = Own()
    model(np.zeros((1, SIDE, SIDE, 3), np.float32))
    model.export(path, verbose=False)
    return model


def saved_by_tensorflow(path: Path) -> Any:
    inner = network()

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32)])
        def __call__(self, x: Any) -> Any:
            return {"classes": inner(x)}

    module = Module()
    module.inner = inner
    tf.saved_model.save(module, path)
    return inner


def saved_for_one_image(path: Path) -> Any:
    inner = network()

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, SIDE, SIDE, 3), tf.float32)])
        def __call__(self, x: Any) -> Any:
            return inner(x)

    module = Module()
    module.inner = inner
    tf.saved_model.save(module, path)
    return lambda x: np.concatenate([module(image[None]) for image in x])


@pytest.mark.parametrize(
    ("save", "name", "source"),
    [
        (saved_for_one_image, "net", "saved-model"),
        (keras_3_h5, "net.h5", "keras"),
        (keras_2, "net.h5", "keras-2"),
        (keras_2, "net.keras", "keras-2"),
        (keras_2_depthwise, "net.h5", "keras-2"),
        (keras_2_scalar, "net.h5", "keras-2"),
        (saved_by_keras_2, "net", "saved-model"),
        (exported_by_keras_3, "net", "saved-model"),
        (saved_by_tensorflow, "net", "saved-model"),
    ],
)
def test_every_format_gives_what_its_author_gets(
    tmp_path: Path, save: Callable[[Path], Any], name: str, source: str
) -> None:
    model = save(tmp_path / name)
    foreign = Foreign(path=tmp_path / name, scaling=NONE)
    conversion = assert_equal(foreign, lambda x: np.asarray(model(x)))
    assert conversion.contract.source == source


@pytest.mark.parametrize(
    ("save", "written", "name"),
    [
        (keras_3_h5, "net.keras", "NET.KERAS"),
        (keras_3_h5, "net.keras", "net.h5"),
        (keras_3_h5, "net.h5", "NET.H5"),
        (keras_3_h5, "net.h5", "net.hdf5"),
        (keras_2, "net.keras", "NET.KERAS"),
        (keras_2, "net.keras", "net.h5"),
        (keras_2, "net.h5", "NET.H5"),
    ],
)
def test_a_file_is_what_it_holds(
    tmp_path: Path, save: Callable[[Path], Any], written: str, name: str
) -> None:
    (tmp_path / "there").mkdir()
    model = save(tmp_path / "there" / written)
    (tmp_path / "there" / written).rename(tmp_path / name)
    assert_equal(Foreign(path=tmp_path / name, scaling=NONE), lambda x: np.asarray(model(x)))


def graph(
    shape: list[int | str], *, fixed: bool = False, kind: int = TensorProto.FLOAT
) -> onnx.ModelProto:
    """A classifier in NCHW; `fixed` has the number of images in a constant inside as well."""
    random = np.random.default_rng(5)
    weights = {
        "kernel": random.normal(0, 0.1, (8, 3, 3, 3)).astype(np.float32),
        "matrix": random.normal(0, 4, (8, 5)).astype(np.float32),
        **({"flat": np.array([1, 8])} if fixed else {}),
    }
    end = (
        helper.make_node("Reshape", ["pooled", "flat"], ["rows"])
        if fixed
        else helper.make_node("Flatten", ["pooled"], ["rows"])
    )
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["floats", "kernel"], ["features"], strides=[2, 2]),
        helper.make_node("Relu", ["features"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        end,
        helper.make_node("MatMul", ["rows", "matrix"], ["logits"]),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("images", kind, shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [shape[0], 5])],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    entry = model.metadata_props.add()
    entry.key, entry.value = "names", str(dict(enumerate(LABELS)))
    return model


@pytest.mark.parametrize(
    ("batch", "fixed"), [("n", False), (1, False), (1, True)], ids=["any", "one", "one for sure"]
)
def test_onnx_in_nchw_takes_any_number_of_images(
    tmp_path: Path, batch: int | str, fixed: bool
) -> None:
    model = graph([batch, 3, SIDE, SIDE], fixed=fixed)
    onnx.save(model, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")

    def recipe(x: Floats) -> Any:
        scaled = (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        planes = scaled.transpose(0, 3, 1, 2).astype(np.float32)
        rows = [session.run(None, {"images": plane[None]})[0] for plane in planes]
        return softmax(np.concatenate(rows))

    foreign = Foreign(path=tmp_path / "net.onnx", scaling=NAMED["imagenet"], labels=())
    conversion = assert_equal(foreign, recipe)
    assert conversion.contract.layout == "nchw"
    assert conversion.labels == LABELS, "as its metadata say"


def test_class_names_that_are_not_clear_are_left_aside_and_told(tmp_path: Path) -> None:
    model = graph(["n", 3, SIDE, SIDE])
    model.metadata_props[0].value = str(set(LABELS))
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ImportFailed, match="does not name its classes clearly in 'names': give"):
        Foreign(path=tmp_path / "net.onnx", labels=()).convert()
    np.save(tmp_path / "check.npy", images(count=5))
    check = CheckImages(name="check", classes=LABELS, array=tmp_path / "check.npy")
    conversion = Foreign(path=tmp_path / "net.onnx", labels=()).convert(check)
    assert conversion.labels == LABELS
    assert any("clearly in 'names', which is left aside" in note for note in conversion.notes)


def test_onnx_of_whole_numbers_is_given_them(tmp_path: Path) -> None:
    onnx.save(graph(["n", 3, SIDE, SIDE], kind=TensorProto.UINT8), tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")

    def recipe(x: Floats) -> Any:
        planes = x.transpose(0, 3, 1, 2).astype(np.uint8)
        return softmax(session.run(None, {"images": planes})[0])

    conversion = assert_equal(Foreign(path=tmp_path / "net.onnx"), recipe)
    assert not any("0 to 255" in note for note in conversion.notes)


def renamed(model: onnx.ModelProto, names: dict[str, str]) -> onnx.ModelProto:
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.name = names.get(value.name, value.name)
    return model


@pytest.mark.parametrize(
    "names",
    [
        {"logits": "probabilities"},
        {"images": "probabilities", "logits": "pixels"},
        {"features": "pixels", "kernel": "probabilities"},
        {"floats": "batchsight_before_0", "rows": "batchsight_after_constant_0"},
    ],
)
def test_names_in_a_graph_are_its_own(tmp_path: Path, names: dict[str, str]) -> None:
    onnx.save(graph(["n", 3, SIDE, SIDE]), tmp_path / "plain.onnx")
    onnx.save(renamed(graph(["n", 3, SIDE, SIDE]), names), tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "plain.onnx")

    def recipe(x: Floats) -> Any:
        return softmax(session.run(None, {"images": x.transpose(0, 3, 1, 2)})[0])

    assert_equal(Foreign(path=tmp_path / "net.onnx", scaling=NONE), recipe)


def test_what_was_published_can_be_imported_again(tmp_path: Path) -> None:
    onnx.save(graph(["n", 3, SIDE, SIDE]), tmp_path / "net.onnx")
    first = Foreign(path=tmp_path / "net.onnx", scaling=NAMED["imagenet"])
    model = first.load(first.convert())
    again = tmp_path / "again" / "net.onnx"
    again.parent.mkdir()
    (tmp_path / "artefact" / "model.onnx").rename(again)
    conversion = assert_equal(Foreign(path=again), lambda x: model(x.astype(np.uint8)))
    assert conversion.contract.output == "probabilities"
    assert conversion.contract.scaling == NONE


def branching_graph(path: Path) -> Any:
    """Scales bright images in a branch, which reads them as they were given."""
    model = graph(["n", 3, SIDE, SIDE])
    del model.graph.node[0]  # its Cast
    floats = helper.make_tensor_value_info("floats", TensorProto.FLOAT, None)
    branches = {
        "then_branch": helper.make_node("Div", ["images", "white"], ["floats"]),
        "else_branch": helper.make_node("Identity", ["images"], ["floats"]),
    }
    graphs = {
        name: helper.make_graph([node], name, [], [floats]) for name, node in branches.items()
    }
    first = [
        helper.make_node("ReduceMax", ["images"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "limit"], ["bright"]),
        helper.make_node("If", ["bright"], ["floats"], **graphs),
    ]
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*first, *rest])
    for name, value in (("white", 255), ("limit", 1.5)):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path)
    return lambda x: softmax(session.run(None, {"images": x.transpose(0, 3, 1, 2)})[0])


def branching_module(path: Path) -> Any:
    inner = network()

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32)])
        def __call__(self, x: Any) -> Any:
            if tf.reduce_max(x) > 1.5:
                x = x / 2
            return inner(x)

    module = Module()
    module.inner = inner
    tf.saved_model.save(module, path)
    return module


@pytest.mark.parametrize(
    ("save", "name"), [(branching_graph, "net.onnx"), (branching_module, "net")]
)
def test_branches_read_the_image_too(
    tmp_path: Path, save: Callable[[Path], Any], name: str
) -> None:
    recipe = save(tmp_path / name)
    assert_equal(Foreign(path=tmp_path / name, scaling=NONE), recipe)


def test_signed_bytes_are_given_pixels_less_128(tmp_path: Path) -> None:
    onnx.save(graph(["n", 3, SIDE, SIDE], kind=TensorProto.INT8), tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")

    def recipe(x: Floats) -> Any:
        planes = (x.transpose(0, 3, 1, 2) - 128).astype(np.int8)
        return softmax(session.run(None, {"images": planes})[0])

    conversion = assert_equal(Foreign(path=tmp_path / "net.onnx"), recipe)
    assert any("are given less 128 (--scale 128/1)" in note for note in conversion.notes)


@pytest.mark.parametrize(
    ("kind", "scaling"),
    [
        (TensorProto.INT8, NONE),
        (TensorProto.INT8, NONE.reversed()),
        (TensorProto.UINT8, NAMED["0..1"]),
        (TensorProto.UINT8, parse("128/1")),
        (TensorProto.INT32, NAMED["caffe"]),
    ],
)
def test_pixels_that_a_whole_number_does_not_hold_are_refused(
    tmp_path: Path, kind: int, scaling: Scaling
) -> None:
    onnx.save(graph(["n", 3, SIDE, SIDE], kind=kind), tmp_path / "net.onnx")
    with pytest.raises(ImportFailed, match=rf"takes whole numbers .* --scale {scaling.name} gives"):
        Foreign(path=tmp_path / "net.onnx", scaling=scaling).convert()


@pytest.mark.parametrize("end", ["logits", "softmax"])
def test_half_precision_may_round_its_own_outputs(tmp_path: Path, end: str) -> None:
    """ONNX Runtime computes between half-precision nodes as it likes."""
    random = np.random.default_rng(5)
    matrix = numpy_helper.from_array(random.normal(0, 1 / 60, (3, 5)).astype(np.float16), "matrix")
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["means"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["means", "matrix"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["softmax"], axis=1),
    ]
    half = TensorProto.FLOAT16
    net = helper.make_graph(
        nodes if end == "softmax" else nodes[:2],
        "net",
        [helper.make_tensor_value_info("images", half, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info(end, half, ["n", 5])],
        [matrix],
    )
    opset = helper.make_opsetid("", 13)
    onnx.save(helper.make_model(net, opset_imports=[opset], ir_version=8), tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    (given,) = session.run(None, {"images": images().astype(np.float16)})
    assert given.dtype == np.float16
    foreign = Foreign(path=tmp_path / "net.onnx", scaling=NONE)
    expected = softmax(given) if end == "logits" else given
    np.testing.assert_allclose(foreign.load(foreign.convert())(images()), expected, atol=1e-3)


def half(path: Path) -> Any:
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = network()
    finally:
        keras.mixed_precision.set_global_policy("float32")
    model.save(path)
    return model


def flat(path: Path) -> Any:
    model = keras.Sequential([keras.Input((SIDE * SIDE * 3,)), keras.layers.Dense(5)])
    model.layers[-1].set_weights(
        [np.random.default_rng(1).normal(0, 0.001, (SIDE * SIDE * 3, 5)), np.zeros(5)]
    )
    model.save(path)
    return lambda x: softmax(model.predict_on_batch(x.reshape(len(x), -1)))


def channels_first(path: Path) -> Any:
    turned = keras.layers.Permute((2, 3, 1))
    model = network((3, SIDE, SIDE), start=turned)
    model.save(path)
    return lambda x: model.predict_on_batch(x.transpose(0, 3, 1, 2))


def one_at_a_time(path: Path) -> Any:
    inner = network()
    pixels = keras.Input((SIDE, SIDE, 3), batch_size=1)
    keras.Model(pixels, inner(pixels)).save(path)
    return inner.predict_on_batch


def any_size(path: Path) -> Any:
    model = network((None, None, 3))
    model.save(path)
    return model.predict_on_batch


def named_ends(path: Path) -> Any:
    """An input and an output that go by names."""
    pixels = keras.Input((SIDE, SIDE, 3), name="pixels")
    inner = network()
    keras.Model({"image": pixels}, {"classes": inner(pixels)}).save(path)
    return inner.predict_on_batch


def listed_ends(path: Path) -> Any:
    pixels = keras.Input((SIDE, SIDE, 3))
    inner = network()
    keras.Model([pixels], [inner(pixels)]).save(path)
    return inner.predict_on_batch


def row_in_a_table(path: Path) -> Any:
    pixels = keras.Input((SIDE, SIDE, 3))
    inner = network()
    keras.Model(pixels, keras.layers.Reshape((1, 5))(inner(pixels))).save(path)
    return inner.predict_on_batch


@pytest.mark.parametrize(
    "save",
    [
        *(half, flat, channels_first, one_at_a_time, any_size),
        *(named_ends, listed_ends, row_in_a_table),
    ],
)
def test_networks_that_look_odd_are_taken(tmp_path: Path, save: Callable[[Path], Any]) -> None:
    recipe = save(tmp_path / "net.keras")
    size = (SIDE, SIDE) if save is any_size else None
    foreign = Foreign(path=tmp_path / "net.keras", scaling=NONE, size=size)
    assert_equal(foreign, lambda x: np.asarray(recipe(x)))


def check_of(model: Any, recipe: Callable[[Floats], Floats], folder: Path) -> CheckImages:
    """Images whose classes are what the model says of them, when it is given them rightly."""
    pixels = images(count=120)
    answers = np.asarray(model(recipe(pixels.astype(np.float32)).astype(np.float32))).argmax(axis=1)
    np.save(folder / "check.npy", pixels)
    return CheckImages(
        name="check", classes=tuple(LABELS[i] for i in answers), array=folder / "check.npy"
    )


@pytest.mark.parametrize("name", ["0..1", "-1..1", "imagenet", "caffe"])
def test_a_check_finds_the_scale_that_nobody_told(tmp_path: Path, name: str) -> None:
    model = spread(network(activation=None), RECIPES[name](images().astype(np.float32)))
    model.save(tmp_path / "net.keras")
    check = check_of(model, RECIPES[name], tmp_path)
    conversion = Foreign(path=tmp_path / "net.keras").convert(check)
    assert conversion.contract.scaling.name == name
    assert conversion.accuracy == 1.0
    assert any(f"--scale {name} is taken" in note for note in conversion.notes)


def test_a_scale_that_is_told_wrong_is_refused_with_the_right_one(tmp_path: Path) -> None:
    model = spread(network(activation=None), RECIPES["-1..1"](images().astype(np.float32)))
    model.save(tmp_path / "net.keras")
    check = check_of(model, RECIPES["-1..1"], tmp_path)
    wrong = Foreign(path=tmp_path / "net.keras", scaling=NONE)
    told = r"as told 0\.\d{4} of 120 .* -1\.\.1 it would be 1\.0000"
    with pytest.raises(ImportFailed, match=told):
        wrong.convert(check)


def test_a_picture_of_a_check_that_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    network().save(tmp_path / "net.keras")
    files = []
    for number, pixels in enumerate(images(count=12)):
        files.append(tmp_path / f"ant/{number}.png")
        files[-1].parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(files[-1])
    files[3].write_bytes(files[3].read_bytes()[:100])
    check = CheckImages(name="photos", classes=("ant",) * 12, files=tuple(files))
    foreign = Foreign(path=tmp_path / "net.keras", scaling=NONE, labels=LABELS)
    conversion = foreign.convert(check)
    assert conversion.checked == 11
    (note,) = (note for note in conversion.notes if note.startswith("Left out of photos: "))
    assert "ant/3.png (damaged image" in note
    for file in files:
        file.write_bytes(b"no picture")
    with pytest.raises(ImportFailed, match=r"No image of photos can be read: ant/0\.png \("):
        foreign.convert(check)


@pytest.mark.parametrize("kind", ["keras", "onnx"])
def test_a_logit_that_lies_between_0_and_1_for_usual_pixels_is_no_probability(
    tmp_path: Path, kind: str
) -> None:
    pixels = keras.Input((SIDE, SIDE, 3))
    mean = keras.layers.GlobalAveragePooling2D()(pixels)
    dense = keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(1 / 765))
    model = keras.Model(pixels, keras.layers.Rescaling(0.9)(dense(mean)))
    model(np.zeros((1, SIDE, SIDE, 3), np.float32))
    path = tmp_path / f"net.{kind}"
    model.save(path) if kind == "keras" else model.export(path, format="onnx", verbose=False)
    given = model.predict_on_batch(images().astype(np.float32))
    assert given.min() > 0
    assert given.max() < 1
    foreign = Foreign(path=path, scaling=NONE, labels=("no", "yes"))
    assert foreign.convert().contract.output == "sigmoid-logit"


def test_a_scale_for_a_network_of_whole_numbers_is_refused(tmp_path: Path) -> None:
    pixels = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    network = keras.layers.GlobalAveragePooling2D()(keras.ops.cast(pixels, "float32"))
    keras.Model(pixels, keras.layers.Dense(5)(network)).save(tmp_path / "net.keras")
    foreign = Foreign(path=tmp_path / "net.keras", scaling=NAMED["0..1"])
    with pytest.raises(ImportFailed, match=r"takes whole numbers \(uint8\), and --scale 0\.\.1"):
        foreign.convert()


def test_a_network_that_scales_and_is_told_a_scale_is_warned_of(tmp_path: Path) -> None:
    model = network(start=keras.layers.Rescaling(1 / 255))
    model.save(tmp_path / "net.keras")
    conversion = Foreign(path=tmp_path / "net.keras", scaling=NAMED["0..1"]).convert()
    assert any("It scales pixels itself" in note for note in conversion.notes)


def two_inputs() -> Any:
    pixels, more = keras.Input((8, 8, 3), name="image"), keras.Input((2,), name="age")
    x = keras.layers.Concatenate()([keras.layers.Flatten()(pixels), more])
    return keras.Model([pixels, more], keras.layers.Dense(5)(x))


def two_outputs() -> Any:
    pixels = keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(pixels)
    ends = [keras.layers.Dense(5, name="kind")(x), keras.layers.Dense(1, name="worth")(x)]
    return keras.Model(pixels, ends)


def several_labels() -> Any:
    return network((8, 8, 3), activation="sigmoid")


def boxes() -> Any:
    pixels = keras.Input((8, 8, 3))
    return keras.Model(pixels, keras.layers.Conv2D(5, 3)(pixels))


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (two_inputs, "takes 2 inputs (image, age), and only an image is given"),
        (two_outputs, "has 2 outputs (kind, worth), and only the probabilities"),
        (several_labels, "judges each class by itself (sigmoid: several labels an image)"),
        (boxes, "gives 6 x 6 x 5 for an image: it is no classifier"),
    ],
)
def test_what_is_no_classifier_of_images_gets_a_sentence(
    tmp_path: Path, build: Callable[[], Any], sentence: str
) -> None:
    build().save(tmp_path / "net.keras")
    with pytest.raises(ImportFailed) as told:
        Foreign(path=tmp_path / "net.keras").convert()
    assert sentence in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("scaling", "option"),
    [(NONE.reversed(), "--channels bgr"), (NAMED["imagenet"], "--scale imagenet")],
)
def test_a_scale_for_other_channels_is_refused_by_its_option(
    tmp_path: Path, scaling: Scaling, option: str
) -> None:
    network((8, 8, 1)).save(tmp_path / "net.keras")
    with pytest.raises(ImportFailed, match=f"takes grey images, and {option} is for others"):
        Foreign(path=tmp_path / "net.keras", scaling=scaling).convert()


def remembering(path: Path, library: Any = keras) -> None:
    rows = library.Input(batch_shape=(1, 8, 8))
    x = library.layers.LSTM(4, stateful=True, name="memory")(rows)
    library.Model(rows, library.layers.Dense(5)(x)).save(path)


def remembering_keras_2(path: Path) -> None:
    remembering(path, tf_keras)


def four_at_a_time(path: Path) -> None:
    pixels = keras.Input((8, 8, 3), batch_size=4)
    x = keras.ops.reshape(pixels, (4, 192))
    keras.Model(pixels, keras.layers.Dense(5)(x)).save(path)


def of_one_size(path: Path) -> None:
    pixels = keras.Input((None, None, 3))
    x = keras.ops.reshape(pixels, (-1, 192))
    keras.Model(pixels, keras.layers.Dense(5)(x)).save(path)


def graph_in_rows_of(width: int, path: Path) -> None:
    """Of 4 x 4 features of an image it makes rows of so many."""
    model = graph(["n", 3, "h", "w"])
    del model.graph.initializer[:]
    for name, value in {
        "kernel": np.ones((1, 3, 3, 3), np.float32),
        "flat": np.array([-1, width]),
        "matrix": np.ones((width, 5), np.float32),
    }.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    model.graph.node[4].CopyFrom(helper.make_node("Reshape", ["positive", "flat"], ["rows"]))
    onnx.save(model, path)


def graph_of_one_size(path: Path) -> None:
    graph_in_rows_of(7, path)


def graph_of_one_size_in_two_rows(path: Path) -> None:
    graph_in_rows_of(8, path)


@pytest.mark.parametrize(
    ("save", "name", "sentence"),
    [
        (remembering, "net.keras", "its layer 'memory' is stateful, so that an image's answer"),
        (remembering_keras_2, "net.h5", "its layer 'memory' is stateful, so that an image's"),
        (four_at_a_time, "net.keras", "takes a fixed number of images at a time, 4: save it"),
        (of_one_size, "net.keras", "cannot be run on images of 9 x 9 x 3: Input to reshape is a"),
        (graph_of_one_size, "net.onnx", "cannot be run on images of 9 x 9 x 3: The input tensor"),
        (graph_of_one_size_in_two_rows, "net.onnx", "9 x 9 x 3: it gives 16 answers to 8"),
    ],
)
def test_what_cannot_be_run_image_by_image_gets_a_sentence(
    tmp_path: Path, save: Callable[[Path], None], name: str, sentence: str
) -> None:
    save(tmp_path / name)
    size = (9, 9) if "of_one_size" in save.__name__ else None
    with pytest.raises(ImportFailed) as told:
        Foreign(path=tmp_path / name, scaling=NONE, size=size).convert()
    assert sentence in str(told.value)
    assert "\n" not in str(told.value)


def test_layers_that_keras_does_not_have_are_named(tmp_path: Path) -> None:
    class Scale(keras.layers.Layer):
        def call(self, pixels: Any) -> Any:
            return pixels / 255

    network(start=Scale(name="smaller")).save(tmp_path / "own.keras")
    with pytest.raises(ImportFailed, match=r"its layer 'smaller' is a .*Scale, which is no part"):
        Foreign(path=tmp_path / "own.keras").convert()
    for library, name in ((keras, "code.keras"), (tf_keras, "code.h5")):
        code = library.layers.Lambda(lambda x: x, name="same")
        network(library=library, start=code).save(tmp_path / name)
        with pytest.raises(ImportFailed, match=r"Lambda.*, which holds .*code of its own") as told:
            Foreign(path=tmp_path / name).convert()
        assert "safe_mode" not in str(told.value)


def test_a_graph_that_reaches_beyond_itself_is_refused(tmp_path: Path) -> None:
    class Spy(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.float32)])
        def __call__(self, x: Any) -> Any:
            tf.io.write_file(str(tmp_path / "written"), "by a model")
            return tf.reduce_mean(x, axis=[1, 2])

    tf.saved_model.save(Spy(), tmp_path / "net")
    with pytest.raises(ImportFailed, match="its graph holds WriteFile, which reaches beyond it"):
        Foreign(path=tmp_path / "net").convert()
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize(
    ("old", "new", "version", "sentence"),
    [
        ('"units": 5', '"units": 3', None, "object <Dense name=end.* The shape of the target"),
        ('"units": 5', '"unit": 5', None, "cannot be loaded: .* argument: 'units'"),
        ('"units": 5', '"unit": 5', "3.999.0", "written by Keras 3.999.0, and here is the older"),
    ],
)
def test_what_keras_cannot_load_is_told_in_a_line(
    tmp_path: Path, old: str, new: str, version: str | None, sentence: str
) -> None:
    network().save(tmp_path / "whole.keras")
    path = tmp_path / "changed.keras"
    with zipfile.ZipFile(tmp_path / "whole.keras") as whole, zipfile.ZipFile(path, "w") as changed:
        for name in whole.namelist():
            content = whole.read(name)
            if name.endswith(".json"):
                text = content.decode().replace(old, new)
                content = text.replace(keras.__version__, version or keras.__version__).encode()
            changed.writestr(name, content)
    with pytest.raises(ImportFailed, match=sentence) as told:
        Foreign(path=path).convert()
    assert len(str(told.value)) < 600
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("content", [b"", b"\x08\x07nonsense", b"\x0a\xff\xff\xff\xff"])
def test_a_damaged_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(ImportFailed):
        Foreign(path=tmp_path / "net.onnx").convert()


def test_weights_in_other_files_are_not_followed(tmp_path: Path) -> None:
    model = graph(["n", 3, SIDE, SIDE])
    onnx.save(
        model,
        tmp_path / "net.onnx",
        save_as_external_data=True,
        size_threshold=0,
        location="weights",
    )
    with pytest.raises(ImportFailed, match="keeps its weights in other files"):
        Foreign(path=tmp_path / "net.onnx").convert()


def test_pictures_come_to_their_size_as_told(tmp_path: Path) -> None:
    network().save(tmp_path / "net.keras")
    conversion = Foreign(path=tmp_path / "net.keras", scaling=NONE).convert()
    assert conversion.preprocessing.interpolation == "bilinear"
    assert any("as Keras does" in note for note in conversion.notes)
    assert conversion.preprocessing != DEFAULT
