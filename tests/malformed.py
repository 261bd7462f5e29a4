"""Messages of no form that a program of ours sends, by what is wrong with them."""

import base64
import json
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]


def encoded(body: object) -> str:
    """A body as it stands in a message."""
    return base64.b64encode(json.dumps(body).encode()).decode()


def with_header(name: str, value: object) -> Callable[[Json], object]:
    return lambda m: m["headers"].update({name: value})


def with_property(name: str, value: object) -> Callable[[Json], object]:
    return lambda m: m["properties"].update({name: value})


def with_field(name: str, value: object) -> Callable[[Json], object]:
    return lambda m: m.update({name: value})


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


ARGUMENTS = {"job": "job", "batch": 1}
MALFORMED: dict[str, Callable[[Json], object]] = {
    "no id": lambda m: m["headers"].pop("id"),
    "id a number": with_header("id", 7),
    "id a list": with_header("id", ["a"]),
    "id null": with_header("id", None),
    "id a lone surrogate": with_header("id", "a\ud800"),
    "no task": lambda m: m["headers"].pop("task"),
    "task a list": with_header("task", ["worker.predict"]),
    "task null": with_header("task", None),
    "unknown task": with_header("task", "worker.nothing"),
    "a task of Celery's own": with_header("task", "celery.chord_unlock"),
    "time limit of one": with_header("timelimit", [1]),
    "time limit a number": with_header("timelimit", 1),
    "time limit of words": with_header("timelimit", ["a", "b"]),
    "a time limit beyond ours": with_header("timelimit", [1e9, 1e9]),
    "expires a number": with_header("expires", 12),
    "expires a word": with_header("expires", "tomorrow"),
    "expires before our era": with_header("expires", "0001-01-01T00:00:00+23:59"),
    "not before the year 9999": with_header("eta", "9999-12-31T23:59:59+00:00"),
    "retries a word": with_header("retries", "many"),
    "stamps a number": with_header("stamped_headers", 5),
    "stamps of lists": with_header("stamped_headers", [[]]),
    "compression unknown": with_header("compression", "bzip9"),
    "compression a list": with_header("compression", []),
    "an unknown header, deep": with_header("x", nested(900)),
    "shadow a list": with_header("shadow", []),
    "headers null": with_field("headers", None),
    "headers a list": with_field("headers", []),
    "no headers": lambda m: m.pop("headers"),
    "no properties": lambda m: m.pop("properties"),
    "properties null": with_field("properties", None),
    "delivery tag null": with_property("delivery_tag", None),
    "delivery tag a list": with_property("delivery_tag", []),
    "delivery tag empty": with_property("delivery_tag", ""),
    "no delivery tag": lambda m: m["properties"].pop("delivery_tag"),
    "no delivery info": lambda m: m["properties"].pop("delivery_info"),
    "delivery info a word": with_property("delivery_info", "predict"),
    "delivery info of another queue": with_property(
        "delivery_info", {"exchange": "", "routing_key": "other"}
    ),
    "exchange a list": with_property("delivery_info", {"exchange": [], "routing_key": "predict"}),
    "priority infinite": with_property("priority", float("inf")),
    "body encoding unknown": with_property("body_encoding", "base65"),
    "body encoding a list": with_property("body_encoding", []),
    "no body": lambda m: m.pop("body"),
    "body null": with_field("body", None),
    "body not base64": with_field("body", "%%%"),
    "body not JSON": with_field("body", base64.b64encode(b"\x80\x04").decode()),
    "body an object": with_field("body", encoded({})),
    "body an object of three": with_field("body", encoded({"a": 1, "b": 2, "c": 3})),
    "body of one": with_field("body", encoded([[]])),
    "body of four": with_field("body", encoded([[], ARGUMENTS, {}, {}])),
    "arguments a number": with_field("body", encoded([[], 5, {}])),
    "arguments by number": with_field("body", encoded([5, ARGUMENTS, {}])),
    "arguments deep": with_field("body", encoded([[], {"job": nested(900)}, {}])),
    "a date of Celery's": with_field(
        "body", encoded([[], {"__type__": "datetime", "__value__": "now"}, {}])
    ),
    "a task to follow": with_field(
        "body", encoded([[], ARGUMENTS, {"callbacks": [{"task": "worker.predict"}]}])
    ),
    "embedded a list": with_field("body", encoded([[], ARGUMENTS, []])),
    "content type null": with_field("content-type", None),
    "content type pickle": with_field("content-type", "application/x-python-serialize"),
    "content encoding unknown": with_field("content-encoding", "utf-9"),
    "content encoding null": with_field("content-encoding", None),
}
"""What spoils a good message, decoded but for its body."""
