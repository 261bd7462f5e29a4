"""A function of TensorFlow as an ONNX graph."""

import gc
from collections.abc import Callable
from typing import Any

import onnx
import tensorflow as tf

from process.heavy_imports import keras_imports, native_logs_held_back

OPSET = 18


def onnx_of(function: Callable[..., Any]) -> onnx.ModelProto:
    """The graph of a `tf.function` with one signature of one input, its variables in it.

    Raises whatever tf2onnx does: ValueError, KeyError and its own.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    with native_logs_held_back():
        frozen = convert_variables_to_constants_v2(function.get_concrete_function())  # type: ignore[attr-defined]
        model = _converted(
            frozen.graph.as_graph_def(),
            [given.name for given in frozen.inputs],
            [given.name for given in frozen.outputs],
        )
    (given,) = frozen.inputs
    _restore_shape(model, given.shape.as_list())
    return model


def _converted(graph: Any, inputs: list[str], outputs: list[str]) -> onnx.ModelProto:
    """A frozen graph as ONNX: as `tf2onnx.convert` does it, in half of the memory.

    Each of its optimisers copies the graph, and leaves the copy to be collected.
    """
    with keras_imports():
        from tf2onnx import optimizer, tf_loader, tfonnx

    gc.freeze()  # of the libraries nothing has to be collected, and to look takes seconds
    with tf.Graph().as_default():
        graph = tf_loader.tf_optimize(inputs, outputs, graph)
    with tf.Graph().as_default() as whole:
        tf.import_graph_def(graph, name="")
        converted = tfonnx.process_tf_graph(
            whole, opset=OPSET, input_names=inputs, output_names=outputs
        )
        del graph
        _widen_scalars(converted)
        for name, make in optimizer._get_optimizers().items():
            converted = optimizer.optimize_graph(converted, False, optimizers={name: make})
            gc.collect()
        model: onnx.ModelProto = converted.make_model("converted from TensorFlow")
        return model


def _widen_scalars(graph: Any) -> None:
    """Give each scalar that is added a dimension.

    Where one follows a convolution, as in MobileNetV3, tf2onnx stumbles over its having none.
    """
    for node in graph.get_nodes():
        if node.type == "Add" and node.inputs[1].is_const() and graph.get_shape(node.input[0]):
            value = node.inputs[1].get_tensor_value(as_list=False)
            if value.ndim == 0:
                wide = graph.make_const(f"{node.name}_scalar", value.reshape(1))
                graph.replace_input(node, node.input[1], wide.output[0], 1)


def _restore_shape(model: onnx.ModelProto, shape: list[int | None]) -> None:
    """Write the open dimensions as open: conversion gives each a name, or a number of its own."""
    (given,) = model.graph.input
    for dim, side in zip(given.type.tensor_type.shape.dim, shape, strict=True):
        if side is None:
            dim.Clear()
            dim.dim_param = "any"
