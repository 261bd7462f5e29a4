"""Models of TensorFlow that Keras 3 does not load: SavedModels, and what Keras 2 wrote.

They become ONNX graphs. Nothing of them is run here but what a graph needs to restore its weights.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from evaluation.ranking import SAME_SCORE
from process.heavy_imports import keras_imports
from storage.models.contract import Source
from trainer.errors import ImportFailed
from trainer.importing.originals.onnx_original import OnnxOriginal
from trainer.importing.originals.original import require_one_output
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


def open_saved_model(path: Path) -> OnnxOriginal:
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
    return converted(lambda x: call(**{name: x})[output], spec, path, "saved-model", keep=loaded)


def open_keras_2(path: Path, version: str | None) -> OnnxOriginal:
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
        model = tf_keras.models.load_model(path, compile=False)
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
    return converted(
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


def converted(
    call: Callable[[Any], Any],
    spec: Any,
    path: Path,
    source: Source,
    framework: str | None = None,
    keep: object = None,
) -> OnnxOriginal:
    """A function of TensorFlow as an ONNX graph that gives the same; raises `ImportFailed`.

    `keep` is what holds its variables.
    """
    function = tf.function(call, autograph=False, input_signature=[spec])
    try:
        proto = onnx_of(function)
    except Exception as error:  # tf2onnx raises ValueError, KeyError and its own
        raise ImportFailed(f"{path} cannot be converted: {short(error)}") from None
    original = OnnxOriginal(proto, path, source, framework or f"tensorflow {tf.__version__}")
    sides = [64 if side is None else side for side in spec.shape.as_list()[1:]]
    probes = np.random.default_rng(1).integers(0, 256, (2, *sides)).astype(np.float32)
    expected = np.asarray(function(tf.cast(probes, spec.dtype)))
    given = original(probes)[0]
    scale = max(1.0, float(np.abs(expected).max()))
    if given.shape != expected.shape or not np.allclose(given, expected, atol=SAME_SCORE * scale):
        raise ImportFailed(
            f"{path} cannot be converted: its outputs would differ by up to "
            f"{np.abs(given - expected).max():.2g}."
        )
    return original


def short(error: Exception) -> str:
    """The first line of an error as a sentence."""
    line = (str(error).strip().partition("\n")[0] or type(error).__name__)[:300]
    return line if line.endswith(".") else f"{line}."
