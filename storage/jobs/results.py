"""The outcome of one batch: one file, the same bytes whoever writes it and however often."""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.errors import Corrupt
from storage.models.store import ModelPin

FAILED = -1

SAME_SCORE = 1e-4
"""Scores this near to one another are the same: processors round differently."""

# What zipfile and NumPy raise for damaged archives, by place of the damage.
DAMAGE = (
    *(OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """Predictions of a batch in the order of its images."""

    model: ModelPin
    predictions: NDArray[np.int32]
    """Class indices (N,); `FAILED` where the image has an error."""
    scores: NDArray[np.float32]
    """Probability of the predicted class (N,), 0 to 1; 0 for failed images."""
    errors: Mapping[int, str] = field(default_factory=dict)
    """Reason by position in the batch."""
    reused: int | None = None
    """Images whose prediction was not computed for this batch; none when that was not asked for."""

    def agrees(self, other: "BatchResult") -> bool:
        """Whether both say the same, as two computations of the same batch do.

        Scores may differ by `SAME_SCORE`, and so may classes between which there is a tie: two
        probabilities that are the largest ones, and equal, are at most one half each. A failed
        image may have another reason.
        """
        if self.model != other.model or self.predictions.shape != other.predictions.shape:
            return False
        return not self.differing(other).any()

    def differing(self, other: "BatchResult") -> NDArray[np.bool_]:
        """Which images (N,) have another outcome in the other result of the same batch."""
        near = np.isclose(self.scores, other.scores, rtol=0, atol=SAME_SCORE)
        both_predicted = (self.predictions != FAILED) & (other.predictions != FAILED)
        tie = both_predicted & (np.maximum(self.scores, other.scores) <= 0.5 + SAME_SCORE)
        same = (self.predictions == other.predictions) | tie
        differs: NDArray[np.bool_] = ~(near & same)
        return differs

    def nonsense(self, count: int, classes: int) -> str | None:
        """Why this cannot be the result of so many images and classes, if it cannot be."""
        if self.predictions.shape != (count,):
            return f"has {self.predictions.size} predictions, its batch has {count} images"
        if self.scores.shape != (count,) or self.scores.dtype.kind != "f":
            return f"has {self.scores.size} scores, its batch has {count} images"
        if self.predictions.dtype.kind != "i":
            return "predicts what are no numbers of classes"
        if self.predictions.max(initial=FAILED) >= classes:
            return f"predicts a class beyond the {classes} of the model"
        if np.flatnonzero(self.predictions < 0).tolist() != sorted(self.errors):
            return "has failed images without a reason, or a reason without a failed image"
        return None

    def to_bytes(self) -> bytes:
        """As an `.npz` archive: every member has a checksum, and no time or host leaves a trace."""
        buffer = io.BytesIO()
        positions = sorted(self.errors)
        reused: dict[str, Any] = {} if self.reused is None else {"reused": np.array(self.reused)}
        np.savez(
            buffer,
            model=np.array([self.model.name, str(self.model.number), self.model.sha256]),
            prediction=self.predictions.astype(np.int32, copy=False),
            score=self.scores.astype(np.float32, copy=False),
            error_at=np.array(positions, dtype=np.int32),
            error=np.array([self.errors[i] for i in positions], dtype=np.str_),
            **reused,
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, origin: object) -> "BatchResult":
        """Read what `to_bytes` wrote; raises `Corrupt`, naming `origin`, for anything else."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as members:
                name, number, sha256 = (str(part) for part in members["model"])
                return cls(
                    model=ModelPin(name=name, number=int(number), sha256=sha256),
                    predictions=members["prediction"],
                    scores=members["score"],
                    errors=dict(
                        zip(members["error_at"].tolist(), members["error"].tolist(), strict=True)
                    ),
                    reused=int(members["reused"]) if "reused" in members else None,
                )
        except DAMAGE as error:
            raise Corrupt(f"The result {origin} is damaged ({error}).") from None


def count_errors(content: bytes, origin: object) -> int:
    """How many images of a result have an error, without reading the rest; raises `Corrupt`."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as members:
            return int(members["error_at"].size)
    except DAMAGE as error:
        raise Corrupt(f"The result {origin} is damaged ({error}).") from None
