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
from storage.models import ModelPin

FAILED = -1

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
        """Whether both say the same, though scores differ in the last digits."""
        return (
            self.model == other.model
            and self.errors == other.errors
            and np.array_equal(self.predictions, other.predictions)
            and np.allclose(self.scores, other.scores, rtol=0, atol=1e-4)
        )

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
