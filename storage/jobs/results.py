"""The outcome of one batch: one file, the same bytes whoever writes it and however often."""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.ranking import FAILED, Ranking
from storage.errors import Corrupt
from storage.models.store import ModelPin

# What zipfile and NumPy raise for damaged archives, by place of the damage.
DAMAGE = (
    *(OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """Predictions of a batch in the order of its images."""

    model: ModelPin
    ranking: Ranking
    """The likeliest classes of each image, as many as the job keeps."""
    errors: Mapping[int, str] = field(default_factory=dict)
    """Reason by position in the batch."""
    reused: int | None = None
    """Images whose prediction was not computed for this batch; none when that was not asked for."""

    @property
    def predictions(self) -> NDArray[np.int32]:
        """Class indices (N,); `FAILED` where the image has an error."""
        return self.ranking.classes[:, 0]

    @property
    def scores(self) -> NDArray[np.float32]:
        """Probability of the predicted class (N,), 0 to 1; 0 for failed images."""
        return self.ranking.scores[:, 0]

    def agrees(self, other: "BatchResult") -> bool:
        """Whether both say the same, as two computations of the same batch do.

        Scores may differ by rounding, and so may classes between which there is a tie, see
        `Ranking.differing`. A failed image may have another reason.
        """
        if self.model != other.model or self.ranking.classes.shape != other.ranking.classes.shape:
            return False
        return not self.differing(other).any()

    def differing(self, other: "BatchResult") -> NDArray[np.bool_]:
        """Which images (N,) have another outcome in the other result of the same batch."""
        return self.ranking.differing(other.ranking)

    def nonsense(self, count: int, classes: int, depth: int) -> str | None:
        """Why this cannot be the result of so many images, classes and ranks, if it cannot be."""
        ranked, scores = self.ranking.classes, self.ranking.scores
        if len(ranked) != count:
            return f"has {len(ranked)} predictions, its batch has {count} images"
        if scores.shape != ranked.shape or scores.dtype.kind != "f":
            return f"has {scores.size} scores for {ranked.size} predictions"
        if self.ranking.depth != depth:
            return f"ranks {self.ranking.depth} classes, its job asks for {depth}"
        if ranked.dtype.kind != "i":
            return "predicts what are no numbers of classes"
        if ranked.max(initial=FAILED) >= classes:
            return f"predicts a class beyond the {classes} of the model"
        if np.flatnonzero(ranked.min(axis=1) < 0).tolist() != sorted(self.errors):
            return "has failed images without a reason, or a reason without a failed image"
        return None

    def to_bytes(self) -> bytes:
        """As an `.npz` archive: every member has a checksum, and no time or host leaves a trace.

        A single rank is stored without its axis, and a whole ranking as the probabilities (N, K)
        in the order of the classes that it was made of.
        """
        buffer = io.BytesIO()
        positions = sorted(self.errors)
        reused: dict[str, Any] = {} if self.reused is None else {"reused": np.array(self.reused)}
        np.savez(
            buffer,
            model=np.array(self.model.model_dump_json().encode()),
            **ranking_members(self.ranking),
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
                return cls(
                    model=ModelPin.model_validate_json(members["model"].item()),
                    ranking=read_ranking(members, members["error_at"].tolist()),
                    errors=dict(
                        zip(members["error_at"].tolist(), members["error"].tolist(), strict=True)
                    ),
                    reused=int(members["reused"]) if "reused" in members else None,
                )
        except DAMAGE as error:
            raise Corrupt(f"The result {origin} is damaged ({error}).") from None


def ranking_members(ranking: Ranking) -> dict[str, Any]:
    """A ranking as the members of an archive."""
    if ranking.is_whole():
        return {"score": ranking.by_class().astype(np.float32, copy=False)}
    classes, scores = ranking.classes, ranking.scores
    if ranking.depth == 1:
        classes, scores = classes[:, 0], scores[:, 0]
    return {
        "prediction": classes.astype(np.int32, copy=False),
        "score": scores.astype(np.float32, copy=False),
    }


def read_ranking(members: Mapping[str, Any], failed: Sequence[int] = ()) -> Ranking:
    """What `ranking_members` made; the images that have `failed` have no classes.

    Raises what damaged archives raise.
    """
    scores = members["score"]
    if "prediction" not in members:
        if scores.ndim != 2:
            raise ValueError("probabilities are no table")
        ranking = Ranking.of(scores, scores.shape[1])
        ranking.classes[list(failed)] = FAILED
        return ranking
    classes = members["prediction"]
    if classes.ndim == 1 and scores.ndim == 1:
        classes, scores = classes[:, np.newaxis], scores[:, np.newaxis]
    if classes.ndim != 2 or not classes.shape[1]:
        raise ValueError("predictions are no table")
    return Ranking(classes=classes, scores=scores)


def count_errors(content: bytes, origin: object) -> int:
    """How many images of a result have an error, without reading the rest; raises `Corrupt`."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as members:
            return int(members["error_at"].size)
    except DAMAGE as error:
        raise Corrupt(f"The result {origin} is damaged ({error}).") from None
