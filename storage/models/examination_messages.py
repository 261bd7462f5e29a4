"""What a trainer asks about model versions, and what a clean worker process finds out.

The request comes as JSON on the stdin of `python -m worker.examination`; the metrics, or the
refusal, are JSON on its stdout; the answers are a `.npy` array, probabilities float32 (N, classes).
In the same way `python -m worker.examination.timing` compares the times that versions take.
"""

from pathlib import Path

from pydantic import BaseModel

from storage.models.metrics import Metrics
from storage.models.store import ModelVersion


class ExaminationRequest(BaseModel, frozen=True):
    """Which version to load, and on which images."""

    version: ModelVersion
    images: Path
    """A `.npy` file of uint8 (N, H, W, C)."""
    answers: Path
    """Where to write the `.npy` file."""
    seconds: int
    """After which the process ends itself, should nobody be left to do it."""


class ExaminationAnswer(BaseModel, frozen=True):
    """Metrics, or why there are none."""

    metrics: Metrics | None = None
    refusal: str = ""


class TimingRequest(BaseModel, frozen=True):
    """Which versions to time, in turns."""

    versions: tuple[ModelVersion, ...]
    images: Path
    """A `.npy` file of uint8 (N, H, W, C), of which all get the first."""
    seconds: int
    """After which the process ends itself, should nobody be left to do it."""


class Timing(BaseModel, frozen=True):
    """How long one image alone takes with a version, as in `Metrics`."""

    latency_ms: float
    cpu_ms: float


class TimingAnswer(BaseModel, frozen=True):
    """One timing for each version, or why there are none."""

    timings: tuple[Timing, ...] = ()
    refusal: str = ""
