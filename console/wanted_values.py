"""What a field of a pydantic model takes, in words: pydantic's own are for programmers."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}


def explain(fault: ErrorDetails, fields: dict[str, FieldInfo]) -> str:
    """Why a value is refused: the model's own words, or what its field takes."""
    if fault["type"] == "value_error":
        return fault["msg"].removeprefix("Value error, ")
    return f"it must be {wanted(fields[str(fault['loc'][0])])}"


def wanted(field: FieldInfo) -> str:
    """What a field takes, such as `a whole number from 1 to 100`."""
    types, bounds = [], list(field.metadata)
    for leaf in _leaves(field.annotation, bounds):
        types += leaf
    listed = " or ".join(filter(None, [", ".join(types[:-1]), types[-1]]))
    return f"{listed}{_range(bounds)}"


def _leaves(annotation: Any, bounds: list[Any]) -> Iterator[list[str]]:
    """The types of an annotation in words; what bounds them is added to `bounds`."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        for mark in parts[1:]:
            bounds += mark.metadata if isinstance(mark, FieldInfo) else [mark]
        yield from _leaves(parts[0], bounds)
    elif origin in (Union, UnionType):
        for part in parts:
            yield from _leaves(part, bounds)
    elif origin is Literal:
        yield list(map(str, parts))
    elif annotation is not type(None):
        yield [NAMES.get(annotation, annotation.__name__)]


def _range(bounds: list[Any]) -> str:
    low = [_number(mark.ge) for mark in bounds if isinstance(mark, Ge)]
    high = [_number(mark.le) for mark in bounds if isinstance(mark, Le)]
    if low and high:
        return f" from {low[0]} to {high[0]}"
    told = [f"at least {limit}" for limit in low]
    told += [f"above {_number(mark.gt)}" for mark in bounds if isinstance(mark, Gt)]
    told += [f"at most {limit}" for limit in high]
    told += [f"below {_number(mark.lt)}" for mark in bounds if isinstance(mark, Lt)]
    return f", {' and '.join(told)}" if told else ""


def _number(bound: Any) -> str:
    return f"{int(bound) if bound == int(bound) else bound:,}"
