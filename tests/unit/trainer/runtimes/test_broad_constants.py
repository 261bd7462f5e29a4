import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from trainer.runtimes.broad_constants import broaden_constants

IMAGES = np.random.default_rng(1).random((3, 4, 4, 1)).astype(np.float32)


def scaling() -> onnx.ModelProto:
    """`2 - 0.5 x`, summed over each image, and twice that: constants without axes."""
    constants = {"half": 0.5, "two": 2.0}
    nodes = [
        helper.make_node("Mul", ["half", "x"], ["halved"]),
        helper.make_node("Sub", ["two", "halved"], ["turned"]),
        helper.make_node("Flatten", ["turned"], ["flat"], axis=1),
        helper.make_node("Mul", ["flat", "two"], ["doubled"]),
        helper.make_node("ReduceSum", ["doubled"], ["y"], keepdims=0),
        helper.make_node("Mul", ["y", "two"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "scaling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4, 4, 1])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [])],
        [
            numpy_helper.from_array(np.array(value, np.float32), name)
            for name, value in constants.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def answer(model: onnx.ModelProto) -> float:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"x": IMAGES})
    return float(found)


def test_constants_get_the_axes_of_what_they_are_computed_with_and_say_the_same() -> None:
    model = scaling()
    before = answer(model)
    broaden_constants(model)
    shapes = {weight.name: list(weight.dims) for weight in model.graph.initializer}
    inputs = [[shapes.get(name, name) for name in node.input] for node in model.graph.node]
    assert inputs == [
        [[1, 1, 1, 1], "x"],
        [[1, 1, 1, 1], "halved"],
        ["turned"],
        ["flat", [1, 1]],
        ["doubled"],
        ["y", []],
    ]
    assert answer(model) == before
    onnx.checker.check_model(model)
