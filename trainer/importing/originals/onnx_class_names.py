"""The names of classes in the metadata of an ONNX file, which everybody writes otherwise."""

import ast
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import onnx

from storage.class_names import canonical
from trainer.importing.class_names_file import holds_control, invisible_in

KEYS = (
    *("names", "labels", "classes", "class_names", "class_labels"),
    *("id2label", "label2id", "class_to_idx"),
)
WORDNET = re.compile(r"n\d+")

Names = tuple[str, ...]


def names_in(model: onnx.ModelProto) -> tuple[Names, str]:
    """The names in the order of the outputs, if that is clear; else what was not, if anything."""
    metadata = {entry.key.lower(): entry.value for entry in model.metadata_props}
    unclear = ""
    for key in KEYS:
        if text := metadata.get(key, "").strip():
            if names := read(text):
                return names, ""
            unclear = unclear or key
    return (), unclear


def read(text: str) -> Names:
    """The names that a text means: JSON, a literal of Python, lines, or words between commas.

    None where it can be read in two ways.
    """
    for parse in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            readings = set(readings_of(parse(text)))
            return readings.pop() if len(readings) == 1 else ()
    if text.startswith("(") or set("[]{}") & set(text):
        return ()
    return next(readings_of(text.splitlines() if "\n" in text else text.split(",")), ())


def readings_of(value: Any) -> Iterator[Names]:
    """In which orders a value may name classes; a set has none."""
    if isinstance(value, list | tuple):
        names = tuple(canonical(name) for name in map(name_of, value))
        if len(set(names)) == len(names) > 1 and all(names):
            yield names
    elif isinstance(value, dict):
        for pairs in (list(value.items()), [(number, name) for name, number in value.items()]):
            yield from readings_of(in_order(pairs))
        if not any(is_index(key) for key in value):  # as {"id2label": ..., "label2id": ...}
            for part in value.values():
                if isinstance(part, list | tuple | dict):
                    yield from readings_of(part)


def in_order(pairs: Sequence[tuple[Any, Any]]) -> list[Any]:
    """What belongs to the numbers, if these are all from 0 on; else nothing."""
    by_number = {int(number): name for number, name in pairs if is_index(number)}
    complete = len(by_number) == len(pairs) and set(by_number) == set(range(len(pairs)))
    return [by_number[number] for number in range(len(pairs))] if complete else []


def is_index(key: Any) -> bool:
    """Whether this is a number of an output."""
    return is_plain(key) and str(key).isascii() and str(key).isdigit()


def is_plain(value: Any) -> bool:
    """Whether this is a text or a whole number."""
    return isinstance(value, str) or type(value) is int


def name_of(value: Any) -> str:
    """The name of a class: itself, or behind its number in WordNet; empty if it has none."""
    match value:
        case [str(number), str(name)] if WORDNET.fullmatch(number) and not WORDNET.fullmatch(name):
            value = name
    name = str(value) if is_plain(value) else ""
    return "" if holds_control(name) or invisible_in(name) else name
