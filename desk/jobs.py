"""The pages of jobs: all of them, and each."""

from dataclasses import dataclass
from typing import Any

from desk.page import View
from desk.shelves import Shelves
from producer.results.records import PREDICTIONS_FILE
from producer.results.summary import JobLine
from producer.results.timeline import PHASES, trace
from storage.errors import NotFound
from storage.files import printable
from storage.jobs.store import apart

PER_PAGE = 100
MOST_TRACED = 10_000
"""Batches of a job whose attempts are read to tell where its time went."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A job in the list, or what is wrong with it."""

    id: str
    line: JobLine | None = None
    fault: str = ""


class Jobs(View):
    template = "jobs.html"

    def look(self, *parts: str) -> dict[str, Any]:
        number = int(parts[0]) if parts and parts[0] else 1
        ids = self.shelves.newest_jobs()
        first = (number - 1) * PER_PAGE
        if number > 1 and first >= len(ids):
            raise NotFound(f"There is no page {number} of jobs.")
        rows = [row_of(self.shelves, job_id) for job_id in ids[first : first + PER_PAGE]]
        goes_on = any(row.line and not row.line.status.ended for row in rows)
        return {
            "rows": rows,
            "number": number,
            "count": len(ids),
            "first": first,
            "older": first + PER_PAGE < len(ids),
            "refresh": goes_on,
        }


def row_of(shelves: Shelves, job_id: str) -> Row:
    """A job of the list; a broken one costs no other."""
    faults: list[str] = []
    line = None
    with apart(job_id, faults.append):
        line = shelves.lines[job_id]
    return Row(id=job_id, line=line, fault=printable("".join(faults)))


class Job(View):
    template = "job.html"

    def look(self, *parts: str) -> dict[str, Any]:
        stored = self.shelves.jobs.open(parts[0])
        line = self.shelves.lines[stored.job.id]
        end = stored.end(len(stored.results.done()), failed=line.failed or 0)
        short = stored.job.batches <= MOST_TRACED
        seconds = (end.at - line.created_at).total_seconds() if end else 0.0
        return {
            "job": stored.job,
            "line": line,
            "end": end,
            "rate": line.done / seconds if seconds > 0 else None,
            "timeline": trace(stored) if short else None,
            "meaning": PHASES,
            "merged": (stored.folder / PREDICTIONS_FILE).is_file(),
            "refresh": not line.status.ended,
        }
