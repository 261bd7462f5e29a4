"""What using a model version costs."""

from pydantic import BaseModel


class Metrics(BaseModel, frozen=True):
    """What it costs in one runtime, with one thread."""

    load_seconds: float
    """To import the runtime, and to check, load and compile the version."""
    images_per_second: float
    """In large batches, by the processor's time, decoding left out."""
    latency_ms: float
    """Of one image alone, the median."""
    cpu_ms: float
    """The part of it that does not depend on what else the machine does, the median as well."""
    peak_memory_mb: float
    """Highest resident memory of the process."""
    chunk: int | None = None
    """How many images at a time were the fastest, where that was measured."""
