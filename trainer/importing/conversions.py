"""What a trainer asks of the process that loads a foreign model, and what that answers.

Both are JSON, on stdin and stdout of `python -m trainer.importing.convert`. The process has limits
of time and memory, and nothing else ever opens the file.
"""

from pathlib import Path

from pydantic import BaseModel

from imaging.images import Shape
from imaging.preprocessing import Preprocessing
from imaging.scalings import Scaling
from storage.models.contract import Contract, Layout, Output
from storage.models.store import ArtefactFormat
from trainer.importing.check_images import CheckImages


class ConversionRequest(BaseModel, frozen=True):
    """Which file to convert, and what its owner says of it: none is for finding out."""

    path: Path
    folder: Path
    """Where to write the artefact."""
    labels: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    """Height and width."""
    layout: Layout | None = None
    scaling: Scaling | None = None
    output: Output | None = None
    preprocessing: Preprocessing | None = None
    check: CheckImages | None = None
    seconds: int
    """After which the process ends itself, should nobody be left to do it."""


class Conversion(BaseModel, frozen=True):
    """What became of the file."""

    format: ArtefactFormat
    shape: Shape
    labels: tuple[str, ...]
    contract: Contract
    preprocessing: Preprocessing
    framework: str | None
    """What wrote the file, and its version."""
    accuracy: float | None
    """Share of the images of the check that it has right."""
    checked: int
    """How many those are."""
    notes: tuple[str, ...]
    """What was assumed, found out or looks odd, a sentence each."""


class ConversionAnswer(BaseModel, frozen=True):
    """A conversion, or why there is none."""

    conversion: Conversion | None = None
    refusal: str = ""
