"""What was measured, kept line by line, so that a run that was cut off goes on where it was."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, Field

from benchmarks.report import machine

ONNX_RUNTIME = f"onnxruntime {version('onnxruntime')}"


def setup() -> str:
    """What figures depend on."""
    return f"{machine()}, {ONNX_RUNTIME}"


class Figures(BaseModel, frozen=True):
    """One turn of a contestant; seconds since its process was started."""

    seconds: float
    """Until it has ended."""
    ready: float
    """Until all its processes have the model; of batchsight's worker before the job."""
    first: float
    """Until the first prediction is there."""
    working: float
    """From `ready` to the last prediction; of batchsight its workers' first batch to their last."""
    megabytes: float
    """The largest of its processes at its peak."""
    phases: Mapping[str, float] = {}
    """Of batchsight's job, as its report shows them."""


class Measurement(BaseModel, frozen=True):
    """A line of the file."""

    network: str
    images: int
    contestant: str
    figures: Figures
    machine: str = Field(default_factory=setup)
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class Measurements:
    """The file; lines of other machines or versions are left alone."""

    path: Path

    def add(self, measurement: Measurement) -> None:
        """Keep one more."""
        with self.path.open("a") as file:
            file.write(measurement.model_dump_json() + "\n")

    def of(self, network: str, images: int) -> Mapping[str, Sequence[Figures]]:
        """The figures of all turns by contestant, in the order of their first ones."""
        found: dict[str, list[Figures]] = {}
        for line in self._lines():
            if (line.network, line.images) == (network, images):
                found.setdefault(line.contestant, []).append(line.figures)
        return found

    def count(self) -> int:
        """How many there are of this machine and these versions."""
        return sum(1 for _ in self._lines())

    def sizes(self, network: str) -> set[int]:
        """With how many photographs it has been measured."""
        return {line.images for line in self._lines() if line.network == network}

    def _lines(self) -> Iterator[Measurement]:
        here = setup()
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            measurement = Measurement.model_validate_json(line)
            if measurement.machine == here:
                yield measurement
