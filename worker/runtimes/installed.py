"""Which runtimes a worker has."""

from functools import cache
from importlib.util import find_spec


@cache
def has_tensorflow() -> bool:
    """Found without importing it. ONNX Runtime is in every worker."""
    return find_spec("tensorflow") is not None
