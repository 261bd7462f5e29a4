"""What a job is: a list of images and a model version, and how it may end."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, Field, field_validator

from console.counts import counted
from storage.files import NAME_PATTERN, printable
from storage.jobs.inputs import ArrayInputs, FileInputs
from storage.models.store import ModelPin

MOST_TOP = 100
"""Classes that are kept of each image by rank; who wants more wants their probabilities."""

BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]
Window = Annotated[int, Field(ge=1, le=100_000)]
FailureRate = Annotated[float, Field(ge=0.0, le=1.0)]
Top = Annotated[int, Field(ge=1, le=MOST_TOP)]


class Status(StrEnum):
    """What has become of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (Status.QUEUED, Status.RUNNING)


class Job(BaseModel, frozen=True, extra="forbid"):
    """One submission: an ordered list of images and the model version they are classified with."""

    id: str = Field(pattern=f"^{NAME_PATTERN}$")
    source: str
    """What the user submitted, in the user's words."""
    model: ModelPin
    labels: tuple[str, ...]
    """The model's class names."""
    total: int = Field(ge=1)
    """Images in the job."""
    labelled: int = Field(ge=0)
    batch_size: BatchSize
    window: Window
    """Batches in the queue at once; each finished one is followed by the one `window` later."""
    max_failure_rate: FailureRate | None = None
    """Share of failed images above which the job is stopped."""
    reuse: bool = False
    """Whether predictions of the same model for the same pixels may be taken over."""
    top: Top = 1
    """How many of the likeliest classes are kept of each image."""
    probabilities: bool = False
    """Whether the probabilities of all classes are kept."""
    notes: tuple[str, ...] = ()
    """What the user was told of the images: what was assumed, what was not used."""
    inputs: Annotated[ArrayInputs | FileInputs, Field(discriminator="kind")]
    passed_over: dict[str, int] = Field(default_factory=dict)
    """What of a folder was not taken, counted by kind: see `image_folders`."""
    fingerprint: str
    """Digest of the images and labels: tells a repeated submission from another job."""
    created_at: AwareDatetime

    @field_validator("source", mode="before")
    @classmethod
    def _printable(cls, source: Any) -> Any:
        return printable(source) if isinstance(source, str) else source

    @property
    def array(self) -> ArrayInputs | None:
        """The array that its images lie in; none if they are files."""
        return self.inputs if isinstance(self.inputs, ArrayInputs) else None

    def __hash__(self) -> int:
        return hash((self.id, self.created_at))  # what was passed over is a dictionary

    @property
    def depth(self) -> int:
        """How many classes of each image are kept."""
        return len(self.labels) if self.probabilities else min(self.top, len(self.labels))

    @property
    def batches(self) -> int:
        """Number of batches."""
        return -(-self.total // self.batch_size)

    def span(self, batch: int) -> range:
        """Positions of a batch's images in the job."""
        first = batch * self.batch_size
        return range(first, min(first + self.batch_size, self.total))

    def excess(self, failed: int) -> str | None:
        """Why a job with so many failed images has failed; none when it allows them."""
        if self.max_failure_rate is None or failed / self.total <= self.max_failure_rate:
            return None
        return (
            f"{failed:,} of {counted(self.total, 'image')} failed, "
            f"more than --max-failure-rate {self.max_failure_rate:g} allows."
        )


class End(BaseModel, frozen=True):
    """How, why and when a job ended."""

    status: Status
    reason: str | None
    """Why it failed or was cancelled; none for a completed job."""
    at: AwareDatetime


class Stop(End, frozen=True):
    """What ends a job before all of its batches are done, or although they are."""

    reason: str

    @field_validator("status")
    @classmethod
    def _stops(cls, status: Status) -> Status:
        if status not in (Status.CANCELLED, Status.FAILED):
            raise ValueError(f"{status} is no reason to stop")
        return status
