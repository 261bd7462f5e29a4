"""Models of TensorFlow that Keras 3 does not load: SavedModels, and what Keras 2 wrote.

They become ONNX graphs. Nothing of them is run here but what a graph needs to restore its weights.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from imaging.images import Shape
from process.heavy_imports import keras_imports
from storage.models.contract import Contract, Source
from storage.models.store import ArtefactFormat
from trainer.errors import ImportFailed
from trainer.importing.originals.keras_file import named_by_content
from trainer.importing.originals.onnx_original import OnnxOriginal
from trainer.importing.originals.original import Outputs, in_batches, require_one_output
from trainer.runtimes.onnx_conversion import onnx_of

GRAPH = "saved_model.pb"
REACHING_OUT = frozenset(
    {
        *("ReadFile", "WriteFile", "MatchingFiles", "WholeFileReader", "WholeFileReaderV2"),
        *("PyFunc", "PyFuncStateless", "EagerPyFunc", "PrintV2", "LookupTableExportV2"),
        *("TextLineDataset", "TFRecordDataset", "FixedLengthRecordDataset", "DebugIdentityV2"),
        *("SaveDataset", "LoadDataset", "DatasetToTFRecord", "CollectiveReduceV2", "RpcCall"),
    }
)
"""Operations that a classifier has no need of."""
CODE = ("Lambda",)


class TensorFlowOriginal:
    """A function of TensorFlow, which is published as an ONNX graph that gives the same."""

    def __init__(
        self,
        call: Callable[[Any], Any],
        spec: tf.TensorSpec,
        path: Path,
        source: Source,
        framework: str | None = None,
        keep: object = None,
    ) -> None:
        self._keep = keep
        """What holds its variables."""
        self._dtype = spec.dtype
        self._batch = spec.shape.as_list()[0]
        self._function = tf.function(call, autograph=False, input_signature=[spec])
        try:
            graph = onnx_of(self._function)
        except Exception as error:  # tf2onnx raises ValueError, KeyError and its own
            raise ImportFailed(f"{path} cannot be converted: {short(error)}") from None
        self._graph = OnnxOriginal(graph, path, source, framework or f"tensorflow {tf.__version__}")
        self.facts = self._graph.facts

    def __call__(self, images: NDArray[np.generic]) -> list[Outputs]:
        """Its outputs for images (N, ...) as it takes them."""
        return in_batches(self._run, images, self._batch)

    def _run(self, images: NDArray[np.generic]) -> list[Outputs]:
        output = self._function(tf.cast(images, self._dtype))
        return [np.asarray(output if output.dtype == tf.float16 else tf.cast(output, tf.float32))]

    def write(self, folder: Path, contract: Contract, shape: Shape) -> ArtefactFormat:
        """The graph, with what the contract says put around it."""
        return self._graph.write(folder, contract, shape)


def open_saved_model(path: Path) -> TensorFlowOriginal:
    """A SavedModel by its serving signature; raises `ImportFailed`."""
    check_operations(path)
    try:
        loaded = tf.saved_model.load(path)
    except Exception as error:  # whatever restoring runs into
        raise ImportFailed(f"{path} cannot be loaded: {short(error)}") from None
    signatures = dict(loaded.signatures)
    chosen = signatures.get("serving_default") or signatures.get("serve")
    if chosen is None and len(signatures) == 1:
        (chosen,) = signatures.values()
    if chosen is None:
        raise ImportFailed(
            f"{path} has no signature to call it by: save it with `model.export(PATH)` of Keras 3, "
            "or with tf.saved_model.save(..., signatures=...)."
        )
    _, named = chosen.structured_input_signature
    if len(named) != 1:
        raise ImportFailed(
            f"{path} takes {len(named)} inputs ({', '.join(named)}), and only an image is given: "
            "save a model that has the others built in."
        )
    ((name, spec),) = named.items()
    require_one_output(path, list(chosen.structured_outputs))
    (output,) = chosen.structured_outputs
    call = chosen
    return TensorFlowOriginal(
        lambda x: call(**{name: x})[output], spec, path, "saved-model", keep=loaded
    )


def open_keras_2(path: Path, version: str | None) -> TensorFlowOriginal:
    """What Keras 2 saved as `.h5` or `.keras`; raises `ImportFailed`."""
    for kind in CODE:
        if kind in set(classes_in(path)):
            raise ImportFailed(
                f"{path} is not published: it has a {kind} layer, which holds code of its own, and "
                "that is not run. Put layers of Keras in its place, or export it as a SavedModel."
            )
    with keras_imports():
        try:
            import tf_keras
        except ImportError:
            raise ImportFailed(
                f"{path} was written by Keras 2, which takes `pip install tf-keras` to be read."
            ) from None
    try:
        with named_by_content(path) as file:
            model = tf_keras.models.load_model(file, compile=False)
    except Exception as error:  # Keras raises whatever its deserialisation runs into
        raise ImportFailed(
            f"{path} cannot be loaded: {short(error)} If it has parts of its own, export it where "
            "it was made, by `model.export(PATH)`."
        ) from None
    if len(model.inputs) != 1:
        raise ImportFailed(
            f"{path} takes {len(model.inputs)} inputs, and only an image is given: save a model "
            "that has the others built in."
        )
    require_one_output(path, list(model.output_names))
    (given,) = model.inputs
    spec = tf.TensorSpec(given.shape, given.dtype)
    return TensorFlowOriginal(
        lambda x: model(x, training=False), spec, path, "keras-2", f"keras {version or 2}", model
    )


def check_operations(path: Path) -> None:
    """Raise `ImportFailed` for a graph that would read, write or run something."""
    from tensorflow.core.protobuf import saved_model_pb2

    graph = saved_model_pb2.SavedModel()
    try:
        graph.ParseFromString((path / GRAPH).read_bytes())
    except Exception as error:  # protobuf's DecodeError is its own
        raise ImportFailed(f"{path / GRAPH} cannot be read: {short(error)}") from None
    for meta in graph.meta_graphs:
        nodes = [*meta.graph_def.node]
        for function in meta.graph_def.library.function:
            nodes.extend(function.node_def)
        for node in nodes:
            if node.op in REACHING_OUT:
                raise ImportFailed(
                    f"{path} is not published: its graph holds {node.op}, which reaches beyond it."
                )


def classes_in(path: Path) -> Iterator[str]:
    """The classes of the layers in an HDF5 or zip file of Keras 2."""
    import zipfile

    import h5py  # type: ignore[import-untyped]

    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                config: Any = json.loads(archive.read("config.json"))
        else:
            with h5py.File(path, "r") as file:
                config = json.loads(file.attrs["model_config"])
    except (OSError, KeyError, ValueError, RecursionError) as error:
        raise ImportFailed(f"{path} cannot be read: {short(error)}") from None
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if isinstance(part.get("class_name"), str):
                yield part["class_name"]
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def short(error: Exception) -> str:
    """The first line of an error as a sentence."""
    line = (str(error).strip().partition("\n")[0] or type(error).__name__)[:300]
    return line if line.endswith(".") else f"{line}."
