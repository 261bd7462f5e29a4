"""Removes jobs that ended long ago, drafts that were left behind, and predictions for reuse."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from storage.errors import StorageError
from storage.jobs.reuse import ReuseStore
from storage.jobs.store import JobStore, apart
from storage.models.store import ModelStore

DRAFT_AGE = timedelta(days=1)
"""A draft in which nothing was written for this long belongs to nobody any more."""


@dataclass(frozen=True, kw_only=True)
class Pruned:
    name: str
    bytes: int


def prune(
    store: JobStore,
    older_than: timedelta,
    *,
    now: datetime | None = None,
    dry_run: bool = False,
    on_fault: Callable[[str], object],
) -> list[Pruned]:
    """Remove jobs that ended longer than `older_than` ago, and stale drafts.

    A job that has not ended is never removed. One that cannot be read is kept, and `on_fault`
    hears of it.
    """
    now = now or datetime.now(UTC)
    pruned = []
    drafts = store.stale_drafts(now - DRAFT_AGE)
    for job_id in store.ids():
        with apart(job_id, on_fault):
            ended_at = store.open(job_id).ended_at()
            if ended_at is None:
                continue
            if ended_at >= now - older_than:
                if ended_at < now - DRAFT_AGE:
                    drafts += store.stale_drafts(now - DRAFT_AGE, job_id)
                continue
            size = bytes_below(store.path(job_id))
            if not dry_run:
                store.remove(job_id)
            pruned.append(Pruned(name=job_id, bytes=size))
    for draft in drafts:
        size = bytes_below(draft)
        if not dry_run:
            remove_draft(draft)
            if draft.exists():
                on_fault(f"The draft {draft} cannot be removed: it is somebody else's.")
                continue
        pruned.append(Pruned(name=str(draft.relative_to(store.folder)), bytes=size))
    return pruned


def prune_reuse(
    store: ReuseStore,
    models: ModelStore,
    older_than: timedelta,
    *,
    dry_run: bool = False,
    on_fault: Callable[[str], object],
) -> list[Pruned]:
    """Remove predictions kept longer than `older_than` ago, and those of models that are gone.

    When a model cannot be read nothing is removed, and `on_fault` hears of it.
    """
    moment = datetime.now(UTC) - older_than
    try:
        versions = [version for name in models.names() for version in models.versions(name)]
    except StorageError as error:
        on_fault(str(error))
        return []
    present = {digest for version in versions for digest in version.manifest.digests.values()}
    removed = store.prune(present, moment.timestamp(), dry_run=dry_run)
    return [Pruned(name=name, bytes=size) for name, size in removed]


def remove_draft(draft: Path) -> None:
    """Remove that of a job, which is a folder, or that of a file of a job, as far as one may."""
    if draft.is_dir():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        with suppress(OSError):
            draft.unlink()


def bytes_below(path: Path) -> int:
    """What a file takes, or all files below a folder."""
    return sum(each.stat().st_size for each in (path, *path.rglob("*")) if each.is_file())
