"""The report of a job, made when somebody asks for it, and never written."""

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from console.errors import BatchsightError
from desk.page import Page
from desk.shelves import Shelves
from producer.report.writing import make_report
from storage.files import modified
from storage.jobs.corrections import LABELS

MOST_IMAGES = 2_000_000
"""A report of more is for the command line: it would take a minute."""
KEPT = 8
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""The report's own policy names the one style sheet that is in it; both hold."""
MAKER = ThreadPoolExecutor(1, thread_name_prefix="report")

_made: OrderedDict[tuple[object, ...], bytes] = OrderedDict()


class TooLarge(BatchsightError):
    """A job whose report is not made while a browser waits."""


def report_of(shelves: Shelves, job_id: str) -> bytes:
    """The report of a job as far as it is; made once until something changes."""
    stored = shelves.jobs.open(job_id)
    if stored.job.total > MOST_IMAGES:
        raise TooLarge(
            f"Job {job_id} has {stored.job.total:,} images, too many to wait for here: "
            f"`producer report {job_id}` writes its report."
        )
    labelled_at = modified(stored.folder / LABELS)
    stamp = (stored.folder, *shelves.jobs.changed(job_id), labelled_at)
    if stamp not in _made:
        _made[stamp] = make_report(stored, shelves.models, shelves.settings, keep=False).html
        if len(_made) > KEPT:
            _made.popitem(last=False)
    return _made[stamp]


class Report(Page):
    async def get(self, *parts: str) -> None:
        html = await self.read(report_of, self.shelves, parts[0], pool=MAKER)
        self.set_header("Content-Security-Policy", POLICY)
        self.finish(html)
