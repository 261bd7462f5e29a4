"""May a new version replace the champion?"""

from dataclasses import dataclass

from storage.models import Manifest, ModelVersion

TOLERANCE = 0.002
"""How much lower the accuracy may be: about the spread between two seeds on MNIST."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a version becomes champion, and why."""

    promoted: bool
    reason: str


def judge(candidate: Manifest, champion: ModelVersion | None) -> Verdict:
    """Compare accuracies on the test split.

    The first version always passes; later ones unless they fall more than `TOLERANCE` behind.
    """
    if champion is None:
        return Verdict(promoted=True, reason="the first champion")
    figures = f"accuracy {candidate.accuracy:.4f}, {champion} has {champion.manifest.accuracy:.4f}"
    if candidate.accuracy >= champion.manifest.accuracy - TOLERANCE:
        return Verdict(promoted=True, reason=figures)
    return Verdict(promoted=False, reason=f"{figures} and stays champion")
