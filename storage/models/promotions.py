"""Why a version became champion, or did not: `promotion.json` beside its manifest.

The one file in a version's folder that is written after it was published. No job reads it.
"""

from pydantic import AwareDatetime, BaseModel, ValidationError

from storage.files import write_atomically
from storage.models.metrics import Metrics
from storage.models.runtime_choice import RuntimeChoice
from storage.models.store import ModelPin, ModelVersion

PROMOTION_FILE = "promotion.json"


class Thresholds(BaseModel, frozen=True):
    """What a version is judged by: the settings `BATCHSIGHT_GATE_*`."""

    alpha: float
    recall: float
    recall_loss: float
    calibration: float
    latency: float
    latency_ms: float | None = None
    memory: float
    seconds: float
    megabytes: float


class Performance(BaseModel, frozen=True):
    """What one version does with the held-out images, and what that costs."""

    right: int
    accuracy: float
    recall: tuple[float, ...]
    """By class, in the order of the data set; 0.0 for a class without images."""
    calibration_error: float
    """Expected calibration error of the predicted class: how far score and accuracy differ."""
    metrics: Metrics


class Comparison(BaseModel, frozen=True):
    """Two versions on the same images, by McNemar's exact test."""

    gained: int
    """Images that the candidate has right and the champion wrong."""
    lost: int
    """The other way round."""
    p: float
    """How likely so uneven a pair is by chance, both being equally good."""


class Check(BaseModel, frozen=True):
    name: str
    passed: bool
    finding: str
    notable: bool = False
    """It passed, but whoever uses the version should know."""


class Override(BaseModel, frozen=True):
    """Somebody made a version champion without asking the gate."""

    by: str
    """user@host"""
    at: AwareDatetime
    passed: bool
    """The verdict that there was at that time, and its reason."""
    reason: str


class Promotion(BaseModel, frozen=True):
    """The verdict on a candidate, with all that it rests on."""

    passed: bool
    reason: str
    candidate: ModelPin
    champion: ModelPin | None
    dataset: str | None
    dataset_sha256: str | None
    classes: tuple[str, ...] = ()
    images: int = 0
    """How many held-out images, those of the split `test`."""
    runtime: RuntimeChoice | None = None
    """What the candidate is used with, and was examined with, as its manifest says."""
    candidate_performance: Performance | None = None
    champion_performance: Performance | None = None
    comparison: Comparison | None = None
    checks: tuple[Check, ...] = ()
    thresholds: Thresholds
    judged_at: AwareDatetime
    overrides: tuple[Override, ...] = ()
    """All there ever were, the latest last."""


def write_promotion(
    version: ModelVersion, promotion: Promotion, override: Override | None = None
) -> None:
    """Keep the verdict beside the manifest, in the place of an earlier one; overrides are kept."""
    earlier = read_promotion(version)
    overrides = (*(earlier.overrides if earlier else ()), *([override] if override else []))
    content = promotion.model_copy(update={"overrides": overrides}).model_dump_json(indent=2)
    write_atomically(version.folder / PROMOTION_FILE, content.encode())


def read_promotion(version: ModelVersion) -> Promotion | None:
    """The latest verdict on a version; none if it was never judged, or the file is unreadable."""
    try:
        return Promotion.model_validate_json((version.folder / PROMOTION_FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
