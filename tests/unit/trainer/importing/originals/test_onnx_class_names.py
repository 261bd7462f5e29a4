"""Names of classes in metadata are read where they are clear, and left aside otherwise."""

import json

import onnx
import pytest

from trainer.importing.originals.onnx_class_names import names_in

NAMES = ("eel", "ant", "cat")


def model_with(**metadata: str) -> onnx.ModelProto:
    model = onnx.ModelProto()
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return model


@pytest.mark.parametrize(
    "text",
    [
        str(list(NAMES)),
        str(NAMES),
        json.dumps(NAMES),
        str(dict(enumerate(NAMES))),
        json.dumps({2: "cat", 0: "eel", 1: "ant"}),
        json.dumps({"ant": 1, "cat": 2, "eel": 0}),
        str({"ant": 1, "cat": 2, "eel": 0}),
        json.dumps([["n01", "eel"], ["n02", "ant"], ["n03", "cat"]]),
        json.dumps({"1": ["n02", "ant"], "0": ["n01", "eel"], "2": ["n03", "cat"]}),
        str([("n01", "eel"), ("n02", "ant"), ("n03", "cat")]),
        json.dumps(
            {"id2label": dict(enumerate(NAMES)), "label2id": {"ant": 1, "cat": 2, "eel": 0}}
        ),
        "eel, ant,cat",
        "eel\nant\r\ncat\n",
    ],
)
@pytest.mark.parametrize("key", ["names", "Classes", "id2label"])
def test_clear_names_are_read(text: str, key: str) -> None:
    assert names_in(model_with(**{key: text})) == (NAMES, "")


@pytest.mark.parametrize(
    "text",
    [
        "{'eel', 'ant', 'cat'}",
        "{0: 'eel', 1: 'ant', 3: 'cat'}",
        "{1: 'eel', 2: 'ant', 3: 'cat'}",
        "{'eel': 0, 'ant': 0, 'cat': 1}",
        "{'eel': 0, 'ant': 1, 'cat': 2.0}",
        "{'0': 1, '1': 2, '2': 0}",
        "{'eel': 0.5, 'ant': 0.3}",
        '[null, "eel"]',
        '["eel", "ant", "eel"]',
        '["eel", ""]',
        '["eel", "a\\nt"]',
        '[["eel", "n01"], ["ant", "n02"]]',
        '[["eel", "red"], ["ant", "blue"]]',
        '[{"name": "eel"}, {"name": "ant"}]',
        "['eel', 'ant'",
        "array(['eel', 'ant'])",
        "imagenet",
        "{}",
        "null",
        '"eel, ant"',
        "(" * 10_000,
    ],
)
def test_names_that_are_not_clear_are_left_aside(text: str) -> None:
    assert names_in(model_with(names=text)) == ((), "names")


def test_the_first_clear_names_are_taken() -> None:
    both = model_with(names="imagenet", labels="eel,ant,cat", author="x,y")
    assert names_in(both) == (NAMES, "")
    assert names_in(model_with(author="x,y", names="")) == ((), "")
