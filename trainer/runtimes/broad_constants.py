"""Constants of an ONNX graph in the form that ONNX Runtime is fast with."""

import onnx
from onnx import TensorProto, shape_inference

BROADCASTING = ("Add", "Sub", "Mul", "Div")


def broaden_constants(model: onnx.ModelProto) -> None:
    """Give a number that is added to or multiplied with many as many axes as those have.

    ONNX Runtime takes five times as long for a number without axes, as Keras' `Rescaling` becomes:
    most of the time of an `mlp`.
    """
    known = shape_inference.infer_shapes(model).graph
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*known.input, *known.value_info)
        if value.type.tensor_type.HasField("shape")
    }
    numbers = {weight.name: weight for weight in model.graph.initializer if not weight.dims}
    broad: dict[str, TensorProto] = {}
    for node in model.graph.node:
        if node.op_type not in BROADCASTING:
            continue
        for place, name in enumerate(node.input):
            rank = ranks.get(node.input[1 - place])
            if name in numbers and rank:
                constant = TensorProto()
                constant.CopyFrom(numbers[name])
                constant.dims[:] = [1] * rank
                constant.name = node.input[place] = f"{name}_of_{rank}"
                broad[constant.name] = constant
    model.graph.initializer.extend(broad.values())
