"""An ONNX graph, its own or made of a TensorFlow graph, and the same with nodes put around it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from evaluation.agreement import Agreement
from imaging.images import Shape
from storage.models.contract import ONE_UNIT, Contract, Source
from storage.models.store import FILE_OF, ArtefactFormat
from trainer.errors import ImportFailed
from trainer.importing.check_images import PROBES, patterns
from trainer.importing.originals.onnx_class_names import names_in
from trainer.importing.originals.original import Facts, Outputs, in_batches
from trainer.runtimes.broad_constants import broaden_constants

OLDEST_OPSET = 7
"""From here on arithmetic broadcasts as NumPy's does."""
FEATURES = (
    *("Conv", "Gemm", "MatMul", "MaxPool", "AveragePool", "GlobalAveragePool", "Relu", "Softmax"),
    *("ConvTranspose", "Clip", "Sigmoid", "LeakyRelu", "Elu", "Tanh", "QLinearConv"),
)
"""Before these, pixels are as they were given; anything that computes otherwise scales them."""
SCALING = ("Sub", "Mul", "Div", "Add", "BatchNormalization", "InstanceNormalization")
ACTIVATIONS = {
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "Sigmoid": "sigmoid",
    "HardSigmoid": "sigmoid",
    "Tanh": "tanh",
    "Gemm": "linear",
    "MatMul": "linear",
    "Conv": "linear",
    "Add": "linear",
}
PASSING = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Dropout")
RANDOM = (
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    *("Bernoulli", "Multinomial"),
)
TYPES = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.DOUBLE: "float64",
    TensorProto.UINT8: "uint8",
    TensorProto.INT8: "int8",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
}
PREFIX = "batchsight_"


class OnnxOriginal:
    """A graph that ONNX Runtime runs."""

    def __init__(
        self,
        model: onnx.ModelProto,
        path: Path,
        source: Source = "onnx",
        framework: str | None = None,
    ) -> None:
        self._model = model
        self._path = path
        graph = model.graph
        weights = {weight.name for weight in graph.initializer}
        inputs = [given for given in graph.input if given.name not in weights]
        if len(inputs) != 1:
            names = ", ".join(given.name for given in inputs)
            raise ImportFailed(
                f"{path} takes {len(inputs)} inputs ({names}), and only an image is given: "
                "save a model that has the others built in."
            )
        (self._input,) = inputs
        if drawing := [node.op_type for node in nodes_in(model) if node.op_type in RANDOM]:
            raise ImportFailed(
                f"{path} is not published: its graph holds {drawing[0]}, which draws random "
                "numbers: export it in inference mode."
            )
        kind = self._input.type.tensor_type.elem_type
        if kind not in TYPES:
            raise ImportFailed(
                f"{path} takes {TensorProto.DataType.Name(kind)}, which is no number of pixels."
            )
        dims = [
            dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
            for dim in self._input.type.tensor_type.shape.dim
        ]
        self._batch = dims[0] if dims else None
        self._session = session_of(self._model, path)
        labels, unclear = names_in(model)
        self.facts = Facts(
            source=source,
            shape=tuple(dims[1:]),
            dtype=TYPES[kind],
            scales=TYPES[kind].startswith(("uint", "int")) or begins_with_scaling(graph),
            activation=last_activation(graph),
            outputs=tuple(output.name for output in graph.output),
            labels=labels,
            unclear_labels=unclear,
            framework=framework or (f"{model.producer_name} {model.producer_version}".strip()),
        )

    @classmethod
    def read(cls, path: Path) -> "OnnxOriginal":
        """Read a file; raises `ImportFailed`."""
        try:
            model = onnx.load(path, load_external_data=False)
        except Exception as error:  # protobuf and onnx raise many kinds
            raise ImportFailed(f"{path} cannot be read as ONNX: {first_line(error)}") from None
        if any(tensor.data_location == TensorProto.EXTERNAL for tensor in tensors_in(model)):
            raise ImportFailed(
                f"{path} keeps its weights in other files: save it as one, by "
                "onnx.save_model(onnx.load(PATH), NEW_PATH, save_as_external_data=False)."
            )
        return cls(model, path)

    def __call__(self, images: NDArray[np.generic]) -> list[Outputs]:
        """Its outputs for images (N, ...) as it takes them."""
        name = self._input.name
        given = images.astype(self.facts.dtype)
        return in_batches(lambda few: self._session.run(None, {name: few}), given, self._batch)

    def write(self, folder: Path, contract: Contract, shape: Shape) -> ArtefactFormat:
        """The graph from uint8 (N, H, W, C) to float32 probabilities (N, classes).

        It takes any number of images where that is only a number in the file.
        """
        graph = self._wrapped(contract, shape, self._batch)
        if self._batch:
            freed = self._wrapped(contract, shape, None)
            graph = freed if agree(freed, graph, self._path, shape) else graph
        broaden_constants(graph)
        onnx.save_model(graph, folder / FILE_OF["onnx"])
        return "onnx"

    def _wrapped(self, contract: Contract, shape: Shape, batch: int | None) -> onnx.ModelProto:
        graph = self._model.graph
        taken = names_of(graph)
        pixels, answer = free_name("pixels", taken), free_name("probabilities", taken)
        before = Nodes(free_name(f"{PREFIX}before", taken), pixels)
        before.add("Cast", to=TensorProto.FLOAT)
        scaling = contract.scaling
        if scaling.bgr:
            before.add("Gather", before.constant(np.array([2, 1, 0])), axis=3)
        if set(scaling.mean) != {0.0}:
            before.add("Sub", before.constant(channelwise(scaling.mean)))
        if set(scaling.deviation) != {1.0}:
            before.add("Div", before.constant(channelwise(scaling.deviation)))
        match contract.layout:
            case "nchw":
                before.add("Transpose", perm=[0, 3, 1, 2])
            case "nhw":
                before.add("Reshape", before.constant(np.array([0, 0, -1])))
            case "flat":
                before.add("Reshape", before.constant(np.array([0, -1])))
        # What the network takes has its name still: the branches of an If may read it as well.
        before.add("Cast", name=self._input.name, to=self._input.type.tensor_type.elem_type)

        after = Nodes(free_name(f"{PREFIX}after", taken), graph.output[0].name)
        after.add("Cast", to=TensorProto.FLOAT)
        after.add("Flatten", axis=1)
        match contract.output:
            case "log-probabilities":
                after.add("Exp")
            case "logits":
                after.add("Softmax", axis=1)
            case "sigmoid-logit":
                after.add("Sigmoid")
            case "tanh":
                after.add("Add", after.constant(np.ones((1, 1), np.float32)))
                after.add("Div", after.constant(np.full((1, 1), 2, np.float32)))
        if contract.output in ONE_UNIT:
            second = after.last
            after.last = after.constant(np.ones((1, 1), np.float32))
            after.add("Sub", second)
            after.add("Concat", second, axis=1)
        after.add("Identity", name=answer)

        images = batch or "images"
        whole = helper.make_graph(
            [*before.nodes, *graph.node, *after.nodes],
            "batchsight",
            [helper.make_tensor_value_info(pixels, TensorProto.UINT8, [images, *shape])],
            [helper.make_tensor_value_info(answer, TensorProto.FLOAT, [images, None])],
            [*graph.initializer, *before.constants, *after.constants],
        )
        whole.sparse_initializer.extend(graph.sparse_initializer)
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        model.graph.CopyFrom(whole)
        return model


class Nodes:
    """A chain of nodes, each of which takes what the one before gives."""

    def __init__(self, name: str, first: str) -> None:
        self._name = name
        self.last = first
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, kind: str, *others: str, name: str = "", **attributes: Any) -> None:
        """Another node."""
        result = name or f"{self._name}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(kind, [self.last, *others], [result], name=result, **attributes)
        )
        self.last = result

    def constant(self, value: np.ndarray) -> str:
        """The name of a constant."""
        name = f"{self._name}_constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def names_of(graph: onnx.GraphProto) -> frozenset[str]:
    """All that nodes, tensors and constants are called, those of inner graphs included."""
    names: list[str] = []
    for each in graphs_in(graph):
        for node in each.node:
            names += [node.name, *node.input, *node.output]
        known = (each.input, each.output, each.value_info, each.initializer)
        names += [value.name for values in known for value in values]
        names += [sparse.values.name for sparse in each.sparse_initializer]
    return frozenset(names)


def free_name(name: str, taken: frozenset[str]) -> str:
    """This name, longer if any that is taken begins so."""
    while any(other.startswith(name) for other in taken):
        name += "_"
    return name


def channelwise(numbers: tuple[float, ...]) -> np.ndarray:
    """To compute pixels (N, H, W, C) with, each channel with its own."""
    return np.array(numbers, np.float32).reshape(1, 1, 1, -1)


def session_of(model: onnx.ModelProto, path: Path) -> onnxruntime.InferenceSession:
    """A session with one thread; raises `ImportFailed`."""
    opsets = {known.domain: known.version for known in model.opset_import}
    if opsets.get("", 99) < OLDEST_OPSET:
        raise ImportFailed(
            f"{path} is written in opset {opsets['']} of ONNX, and {OLDEST_OPSET} is the oldest: "
            "export it anew."
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime has a dozen, of no common base
        raise ImportFailed(f"{path} cannot be run: {first_line(error)}") from None


def agree(freed: onnx.ModelProto, fixed: onnx.ModelProto, path: Path, shape: Shape) -> bool:
    """Whether several images at once are given what each is given in batches as fixed."""
    images = patterns(PROBES, shape)
    try:
        (together,) = OnnxOriginal(freed, path)(images)
    except Exception:  # whatever the graph runs into with more of them
        return False
    (alone,) = OnnxOriginal(fixed, path)(images)
    return together.shape == alone.shape and Agreement.of(together, alone).holds


def begins_with_scaling(graph: onnx.GraphProto) -> bool:
    """Whether the first that is done with the image is arithmetic."""
    for node in following(graph):
        if node.op_type in SCALING:
            return True
        if node.op_type in FEATURES:
            return False
    return False


def following(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes that the image goes through, in order."""
    reached = {given.name for given in graph.input} - {w.name for w in graph.initializer}
    for node in graph.node:
        if reached & set(node.input):
            reached.update(node.output)
            yield node


def last_activation(graph: onnx.GraphProto) -> str | None:
    """What the only output comes from."""
    maker = {name: node for node in graph.node for name in node.output}
    node = maker.get(graph.output[0].name) if graph.output else None
    while node is not None and node.op_type in PASSING:
        node = maker.get(node.input[0])
    return ACTIVATIONS.get(node.op_type) if node is not None else None


def graphs_in(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """It and the graphs inside its nodes, as the branches of an If."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
            for each in inner:
                yield from graphs_in(each)


def nodes_in(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """All of them, those of inner graphs and of the model's own functions included."""
    for graph in graphs_in(model.graph):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def tensors_in(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """All constants."""
    for graph in graphs_in(model.graph):
        yield from graph.initializer
    for node in nodes_in(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def first_line(error: Exception) -> str:
    """What went wrong, in short."""
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:300]
