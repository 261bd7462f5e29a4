"""Which of two runtimes a version is used with, and why."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel

from evaluation.agreement import Agreement
from storage.models.metrics import Metrics

Runtime = Literal["onnx", "tensorflow"]
TITLES: Mapping[Runtime, str] = {"onnx": "ONNX Runtime", "tensorflow": "TensorFlow"}


class RuntimeChoice(BaseModel, frozen=True):
    """Decided once, by measurement, when the version is published."""

    runtime: Runtime
    reason: str
    """A clause, such as `1.5 times as fast as TensorFlow`."""
    metrics: dict[Runtime, Metrics]
    """Of each that it can be used with, as far as it was measured."""
    agreement: Agreement | None = None
    """Of the two; none where there was no second one to compare with."""
