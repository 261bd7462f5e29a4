"""What a trainer asks about model versions, and what a clean worker process finds out.

The request comes as JSON on the stdin of `python -m worker.examination`; the metrics, or the
refusal, are JSON on its stdout; the answers are `.npz` arrays: `predictions` int32 (N,), `scores`
float32 (N,), and with trials `rows` int64 (n,) and `trials` int32 (k, n), the predictions for these
rows when they are scaled in the first k of the ways of `imaging.scalings` that fit their channels.
In the same way `python -m worker.examination.timing` compares the times that versions take.
"""

from pathlib import Path

from pydantic import BaseModel

from storage.models.store import Manifest, ModelVersion


class ExaminationRequest(BaseModel, frozen=True):
    """Which version to load, and on which images."""

    name: str
    number: int
    folder: Path
    manifest: Manifest
    images: Path | None
    """A `.npy` file of uint8 (N, H, W, C)."""
    trials: bool
    """Whether to try the images in other scales too, as for a model that nobody knows yet."""
    answers: Path
    """Where to write the `.npz` file."""
    seconds: int
    """After which the process ends itself, should nobody be left to do it."""

    @classmethod
    def of(
        cls,
        version: ModelVersion,
        images: Path | None,
        answers: Path,
        seconds: int,
        *,
        trials: bool = False,
    ) -> "ExaminationRequest":
        return cls(
            name=version.name,
            number=version.number,
            folder=version.folder,
            manifest=version.manifest,
            images=images,
            trials=trials,
            answers=answers,
            seconds=seconds,
        )

    @property
    def version(self) -> ModelVersion:
        return ModelVersion(
            name=self.name, number=self.number, folder=self.folder, manifest=self.manifest
        )


class Metrics(BaseModel, frozen=True):
    """What using a version costs, with one thread."""

    load_seconds: float
    """To check, load and compile it, TensorFlow being there already."""
    images_per_second: float
    """In large batches."""
    latency_ms: float
    """Of one image alone, the median."""
    cpu_ms: float
    """The part of it that does not depend on what else the machine does, the median as well."""
    peak_memory_mb: float
    """Highest resident memory of the process."""


class ExaminationAnswer(BaseModel, frozen=True):
    """Metrics, or why there are none."""

    metrics: Metrics | None = None
    refusal: str = ""
    remedy: tuple[str, ...] = ()
    """Lines of Python that make `answer` from the Keras `model` and its input `pixels`."""


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
