"""What is read from a Keras configuration."""

from collections.abc import Mapping
from typing import Any

import pytest

from storage.models.architecture import Architecture, Input

INPUT: dict[str, Any] = {
    "module": "keras.layers",
    "class_name": "InputLayer",
    "config": {"batch_shape": [None, 8, 8, 3], "dtype": "float32", "name": "image"},
}


def layer(kind: str, module: str | None = "keras.layers", **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


def sequential(*layers: Mapping[str, Any]) -> dict[str, Any]:
    return layer("Sequential", "keras", layers=list(layers))


@pytest.mark.parametrize(
    ("layers", "scales"),
    [
        ([INPUT, layer("Rescaling"), layer("Conv2D")], True),
        ([INPUT, layer("Rescaling", scale=1 / 255, offset=0.0), layer("Conv2D")], True),
        ([INPUT, layer("Rescaling", scale=1.0, offset=-128), layer("Conv2D")], True),
        ([INPUT, layer("Rescaling", scale=1.0, offset=0.0), layer("Conv2D")], False),
        ([INPUT, layer("RandomFlip"), layer("Normalization"), layer("Conv2D")], True),
        ([INPUT, layer("TrueDivide", "keras.src.ops.numpy"), layer("Dense")], True),
        ([INPUT, layer("Flatten"), layer("BatchNormalization"), layer("Dense")], True),
        ([INPUT, sequential(INPUT, layer("Rescaling")), layer("Conv2D")], True),
        ([sequential(layer("ZeroPadding2D"), layer("Conv2D")), layer("Rescaling")], False),
        ([INPUT, layer("Conv2D"), layer("BatchNormalization"), layer("Conv2D")], False),
        ([INPUT, layer("Flatten"), layer("Dense")], False),
        ([{**INPUT, "config": {**INPUT["config"], "dtype": "uint8"}}, layer("Conv2D")], True),
    ],
)
def test_whether_a_network_begins_with_a_scaling_is_seen(
    layers: list[dict[str, Any]], scales: bool
) -> None:
    assert Architecture(sequential(*layers)).scales is scales


def functional(inputs: object, outputs: object) -> Architecture:
    other = layer("InputLayer", batch_shape=[None, 4], name="age")
    layers = [INPUT, other, layer("Dense", name="a", units=3), layer("Dense", name="b")]
    config = {"layers": layers, "input_layers": inputs, "output_layers": outputs}
    return Architecture(layer("Functional", "keras", **config))


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        (["image", 0, 0], ["image"]),
        ([["image", 0, 0]], ["image"]),
        ([["image", 0, 0], ["age", 0, 0]], ["image", "age"]),
        ({"x": ["age", 0, 0], "y": ["image", 0, 0]}, ["age", "image"]),
    ],
)
def test_inputs_are_found_in_each_form_that_keras_writes(inputs: object, names: list[str]) -> None:
    assert [known.name for known in functional(inputs, ["a", 0, 0]).inputs] == names


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        (["a", 0, 0], {0: "a"}),
        ([["a", 0, 0]], {0: "a"}),
        ([["a", 0, 0], ["b", 0, 0]], {0: "a", 1: "b"}),
        ({"kind": ["a", 0, 0], "worth": ["b", 0, 0]}, {"kind": "a", "worth": "b"}),
    ],
)
def test_outputs_are_found_in_each_form_that_keras_writes(outputs: object, names: object) -> None:
    architecture = functional(["image", 0, 0], outputs)
    assert architecture.outputs == names
    assert (architecture.units("a"), architecture.units("b")) == (3, None)


def test_a_network_inside_another_has_no_inputs_of_its_own() -> None:
    inner = {**INPUT, "config": {**INPUT["config"], "name": "inner"}}
    found = Architecture(sequential(INPUT, sequential(inner, layer("Dense")))).inputs
    assert found == [Input(name="image", shape=(None, 8, 8, 3))]


def test_a_network_without_an_input_layer_was_built_for_a_shape() -> None:
    built = {**sequential(layer("Dense")), "build_config": {"input_shape": [None, 9, 9, 1]}}
    assert Architecture(built).inputs == [Input(name="input", shape=(None, 9, 9, 1))]
    assert Architecture(sequential(layer("Dense"))).inputs == []


def test_what_keras_does_not_have_is_named() -> None:
    custom = {**layer("Scale", None, name="scale"), "registered_name": "mine>Scale"}
    assert Architecture(sequential(INPUT, custom)).foreign == ("layer 'scale'", "mine>Scale")
    own = layer("Net", "__main__")
    assert Architecture(own).foreign == ("network", "__main__.Net")
    function = {**layer("function", "builtins"), "config": "mine>swoosh"}
    dense = layer("Dense", activation=function)
    assert Architecture(sequential(INPUT, dense)).foreign == ("function", "mine>swoosh")
    assert Architecture(sequential(INPUT, layer("Dense"))).foreign is None


def test_layers_that_bring_code_are_named() -> None:
    code = Architecture(sequential(INPUT, layer("Lambda", name="twice"))).code
    assert code == ("twice", "Lambda")
    assert Architecture(sequential(INPUT)).code is None


def test_strange_configurations_say_nothing() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    for config in ({}, {"config": 1}, {"class_name": 3, "config": {"layers": [1, deep]}}):
        architecture = Architecture(config)
        assert architecture.inputs == []
        assert architecture.outputs == {}
        assert architecture.foreign is None
        assert architecture.code is None
