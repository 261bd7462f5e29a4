"""The records of a job as files, sent while they are read."""

import asyncio
import io
import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from stat import S_ISREG
from typing import Any

from desk.page import Page, Refusal
from producer.results.record_formats import export
from producer.results.records import PREDICTIONS_FILE, read_tables
from storage.errors import NotFound
from storage.jobs.stored_job import StoredJob

PIECE = 1 << 20
SLOWEST_SECONDS = 60.0
"""A browser that takes no piece for so long is given up."""
TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
SENDERS = ThreadPoolExecutor(2, thread_name_prefix="download")

log = logging.getLogger(__name__)


class Outlet(io.BytesIO):
    """A file that a thread writes to: its content goes to a browser, no faster than that reads."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page
        self._loop = asyncio.get_running_loop()

    def write(self, content: Any, /) -> int:
        """Send it, with more of it at a time than is written."""
        size = super().write(content)
        if self.tell() >= PIECE:
            self.send_rest()
        return size

    def send_rest(self) -> None:
        """Send what is still held; not on closing, or a file that broke off would look whole."""
        sent = asyncio.run_coroutine_threadsafe(self._send(self.getvalue()), self._loop)
        sent.result(SLOWEST_SECONDS)
        self.seek(0)
        self.truncate()

    async def _send(self, content: bytes) -> None:
        self._page.write(content)
        await self._page.flush()


class Download(Page):
    async def get(self, *parts: str) -> None:
        job_id, kind = parts
        stored = await self.read(self.shelves.jobs.open, job_id)
        write = write_csv if kind == "csv" else copy_parquet
        self.set_header("Content-Type", TYPES[kind])
        self.set_header("Content-Disposition", f'attachment; filename="{job_id}.{kind}"')
        if self.request.method == "HEAD":
            return
        try:
            await self.read(write, stored, Outlet(self), pool=SENDERS)
        except Refusal as refusal:
            if not self._headers_written:
                raise
            log.warning("The download of job %s broke off: %s", job_id, refusal.sentence)
            self.detach().close()


def write_csv(stored: StoredJob, outlet: Outlet) -> None:
    """The records there are so far."""
    export(read_tables(stored), outlet, ".csv")
    outlet.send_rest()


def copy_parquet(stored: StoredJob, outlet: Outlet) -> None:
    """The merged predictions; raises `NotFound` before there are any."""
    try:
        file = open_regular(stored)
    except FileNotFoundError:
        raise NotFound(
            f"The predictions of job {stored.job.id} are not merged yet: "
            f"`producer results {stored.job.id}` does that."
        ) from None
    with file:
        shutil.copyfileobj(file, outlet, PIECE)
    outlet.send_rest()


def open_regular(stored: StoredJob) -> "io.BufferedReader":
    """The file of predictions; raises `NotFound` for a pipe or a link in its place."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = os.fdopen(os.open(stored.folder / PREDICTIONS_FILE, flags), "rb")
    if not S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise NotFound(f"The predictions of job {stored.job.id} are no regular file.")
    return file
