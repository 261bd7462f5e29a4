"""What a job came to: the object that `--json` prints."""

from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel

from evaluation.label_order import note_on_order
from producer.results.merging import images_of
from producer.results.records import read_counts
from producer.results.timeline import Timeline
from storage.files import printable
from storage.jobs.corrections import has_corrections
from storage.jobs.job import Status
from storage.jobs.labels import KnownLabels
from storage.jobs.stored_job import StoredJob
from storage.jobs.tally import Tally

REPORT_FILE = "report.html"
"""In a job's folder: what the report of a job writes."""


class ImageCounts(BaseModel, frozen=True):
    total: int
    predicted: int
    failed: int
    """Images with an error record instead of a prediction."""


class Summary(BaseModel, frozen=True):
    id: str
    status: Status
    reason: str | None = None
    """Why it failed or was cancelled; none otherwise."""
    model: str
    """The pinned version, such as `mnist@3`."""
    images: ImageCounts
    labelled: int
    """Images with both a label and a prediction: those that the accuracy is over."""
    accuracy: float | None
    """Share of right predictions, 0 to 1; none when nothing is labelled."""
    top: int | None = None
    """How many classes are kept of each image by rank; none where it is one."""
    top_accuracy: float | None = None
    """Share of the labelled images whose label is among these, 0 to 1."""
    images_per_second: float | None
    """Images done per second since the submission began, copying of the inputs included."""
    created_at: AwareDatetime
    completed_at: AwareDatetime | None
    """When the last result was written or the job was stopped."""
    storage: str
    """Storage root that the job lies on, in `jobs/<id>`."""
    reused: int | None = None
    """Images whose prediction was taken over, not computed; none without `--reuse`."""
    hit_rate: float | None = None
    """These as a share of the images predicted, 0 to 1."""
    labelled_later: int | None = None
    """Images that `producer label` gave a label, which counts here; none without any."""
    passed_over: dict[str, int] | None = None
    """What of a submitted folder was not taken, counted by kind; none when all was."""
    notes: tuple[str, ...] | None = None
    """What was said of the images when they were submitted; none when nothing was."""
    label_order: str | None = None
    """A sentence when the labels would fit in another order of the classes."""
    timeline: Timeline | None = None
    """Where the time went; only `report` works it out."""
    warnings: tuple[str, ...] | None = None
    """What the head of the report warns of, a text each; only `report` works it out."""

    @property
    def is_no_sample(self) -> bool:
        """Whether people labelled a part of the images later, those that looked doubtful, say.

        What is right and wrong among such tells little of the others.
        """
        return bool(self.labelled_later) and self.labelled < self.images.predicted


class JobLine(BaseModel, frozen=True):
    """One job in a list of many.

    Its results are read only where nobody has merged them yet, or given labels later.
    """

    id: str
    status: Status
    model: str
    source: str
    total: int
    """Images."""
    done: int
    """Images in finished batches, failed ones included."""
    created_at: AwareDatetime
    accuracy: float | None
    """Share of right predictions, 0 to 1; none until the job has ended, and without labels."""
    failed: int | None
    """Images with an error record; none until the job has ended."""


def line_of(stored: StoredJob) -> JobLine:
    job, done = stored.job, stored.results.done()
    status = stored.status(len(done))
    failed, accuracy = figures_of(stored) if status.ended else (None, None)
    return JobLine(
        id=job.id,
        status=status,
        model=str(job.model),
        source=job.source,
        total=job.total,
        done=images_of(job, done),
        created_at=job.created_at,
        accuracy=accuracy,
        failed=failed,
    )


def figures_of(stored: StoredJob) -> tuple[int, float | None]:
    """Failed images and the accuracy of a job, as they were when it was merged or as they are."""
    if not has_corrections(stored) and (merged := read_counts(stored.folder)):
        labelled = merged["labelled"]
        return merged["failed"], merged["right"] / labelled if labelled else None
    tally = Tally(stored, KnownLabels(stored))
    tally.refresh()
    return tally.failed, tally.evaluation.accuracy


def summarise(
    stored: StoredJob,
    tally: Tally,
    *,
    timeline: Timeline | None = None,
    warnings: tuple[str, ...] | None = None,
) -> Summary:
    """Sum up a job of which `tally` has counted the results."""
    job = stored.job
    end = stored.end(tally.batches, tally.failed)
    done = tally.predicted + tally.failed
    ended_at = end.at if end else None
    seconds = ((ended_at or datetime.now(UTC)) - job.created_at).total_seconds()
    evaluation = tally.evaluation
    summary = Summary(
        id=job.id,
        status=stored.status(tally.batches, tally.failed),
        reason=end.reason if end else None,
        model=str(job.model),
        images=ImageCounts(total=job.total, predicted=tally.predicted, failed=tally.failed),
        labelled=evaluation.count,
        accuracy=evaluation.accuracy,
        top=job.top if job.top > 1 else None,
        top_accuracy=tally.in_top / evaluation.count if job.top > 1 and evaluation.count else None,
        images_per_second=round(done / seconds, 1) if done and seconds > 0 else None,
        created_at=job.created_at,
        completed_at=ended_at,
        storage=printable(str(stored.root)),
        reused=tally.reused if job.reuse else None,
        hit_rate=tally.reused / tally.predicted if job.reuse and tally.predicted else None,
        labelled_later=tally.labelled_later or None,
        passed_over=job.passed_over or None,
        notes=job.notes or None,
        timeline=timeline,
        warnings=warnings,
    )
    if end is None or summary.is_no_sample:
        return summary
    return summary.model_copy(update={"label_order": note_on_order(evaluation)})
