"""A model from elsewhere as its author has it: what it takes, what it gives, and how to run it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from imaging.images import Shape
from imaging.scalings import CENTRED, NONE, Scaling
from storage.models.contract import Contract, Layout, Output, Source
from storage.models.store import ArtefactFormat
from trainer.errors import ImportFailed

Floats = NDArray[np.float32]
Outputs = NDArray[np.floating]
"""In the precision of the network."""
CHUNK = 16


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a file says of its network."""

    source: Source
    shape: tuple[int | None, ...]
    """What one image is to it, in its own layout; none where any size will do."""
    dtype: str
    scales: bool
    """Whether it begins with something that scales pixels, or takes whole numbers."""
    activation: str | None = None
    """What it ends with, if that is known."""
    outputs: tuple[str, ...] = ("output",)
    labels: tuple[str, ...] = ()
    """The names of its classes, if the file has them."""
    unclear_labels: str = ""
    """What in the file may name them, and can be read in several ways or none."""
    framework: str | None = None
    """Version of what wrote it."""

    @property
    def usual(self) -> Scaling:
        """What it is given where nobody tells: pixels as they are, if its type holds them."""
        return NONE if self.takes(NONE) else CENTRED

    def takes(self, scaling: Scaling) -> bool:
        """Whether its type holds pixels that are scaled so."""
        if not self.dtype.startswith(("int", "uint")):
            return True
        scaled = scaling(np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1))
        info = np.iinfo(self.dtype)
        whole = np.array_equal(scaled, scaled.round())
        return whole and info.min <= scaled.min() and scaled.max() <= info.max


class Original(Protocol):
    """A loaded model."""

    @property
    def facts(self) -> Facts:
        """What its file says."""

    def __call__(self, images: NDArray[np.generic]) -> list[Outputs]:
        """Its outputs for images (N, ...) in its own layout and scaling."""

    def write(self, folder: Path, contract: Contract, shape: Shape) -> ArtefactFormat:
        """Write the artefact, which takes uint8 (N, H, W, C), and return its format."""


def laid_out(pixels: Floats, layout: Layout) -> Floats:
    """Images (N, H, W, C) as a network takes them."""
    match layout:
        case "nchw":
            return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        case "nhw":
            return pixels[..., 0]
        case "flat":
            return pixels.reshape(len(pixels), -1)
        case _:
            return pixels


def probabilities_of(output: Outputs, kind: Output) -> Floats:
    """Probabilities (N, classes) from what a network gives."""
    given = output.astype(np.float64).reshape(len(output), -1)
    match kind:
        case "log-probabilities":
            given = np.exp(given)
        case "logits":
            powers = np.exp(given - given.max(axis=1, keepdims=True))
            given = powers / powers.sum(axis=1, keepdims=True)
        case "sigmoid":
            given = np.concatenate([1 - given, given], axis=1)
        case "sigmoid-logit":
            second = 1 / (1 + np.exp(-given))
            given = np.concatenate([1 - second, second], axis=1)
        case "tanh":
            second = (1 + given) / 2
            given = np.concatenate([1 - second, second], axis=1)
    return given.astype(np.float32)


def in_batches(
    run: Callable[[NDArray[np.generic]], Sequence[Outputs]],
    images: NDArray[np.generic],
    fixed: int | None,
) -> list[Outputs]:
    """What a network gives for images, a few at once: if it takes a fixed number, always that."""
    size = fixed or CHUNK
    parts = []
    for start in range(0, len(images), size):
        chunk = images[start : start + size]
        missing = size - len(chunk) if fixed else 0
        filled = np.concatenate([chunk, np.repeat(chunk[:1], missing, axis=0)])
        outputs = [np.atleast_1d(output) for output in run(filled)]
        for output in outputs:
            if len(output) != len(filled):
                raise ValueError(f"it gives {len(output):,} answers to {len(filled):,}")
        parts.append([output[: len(chunk)] for output in outputs])
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def coarseness_of(output: Outputs) -> float:
    """How far apart probabilities may be since a network rounds what it gives to half precision."""
    if output.dtype != np.float16:
        return 0.0
    largest = np.abs(output.astype(np.float64)).max(initial=1)
    return float(np.finfo(np.float16).eps * largest / 2)


def require_one_output(path: Path, names: Sequence[str]) -> None:
    """Raise `ImportFailed` for a network with several outputs."""
    if len(names) != 1:
        raise ImportFailed(
            f"{path} has {len(names)} outputs ({', '.join(names)}), and only the probabilities of "
            "the classes are needed: save a model with that output alone."
        )
