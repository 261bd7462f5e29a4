"""The results of one job: which batches are done, and how each came out."""

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from console.counts import counted
from storage.errors import ConflictingResult, Corrupt
from storage.files import discard, is_file, make_folder, read_regular, write_atomically
from storage.jobs.job import Job
from storage.jobs.results import BatchResult, count_errors


class ResultStore:
    """A file per finished batch in the job's folder."""

    def __init__(self, folder: Path, job: Job) -> None:
        self._job = job
        self._folder = folder / "results"
        self._conflicts = folder / "conflicts"
        """Where results lie that were second and had another outcome than the first."""
        self._saved = folder / "attempts"

    def path(self, batch: int) -> Path:
        """Where a batch's result is or will be."""
        return self._folder / result_name(batch)

    def has(self, batch: int) -> bool:
        """Whether a batch is done."""
        return self.path(batch).is_file()

    def done(self) -> set[int]:
        """Numbers of all batches that have a result."""
        return {batch for batch, _ in self._entries()}

    def _entries(self) -> Iterator[tuple[int, "os.DirEntry[str]"]]:
        """The results there are; whatever else lies beside them is none."""
        with os.scandir(self._folder) as entries:
            for entry in entries:
                number = entry.name.removesuffix(".npz")
                if (
                    number.isascii()
                    and number.isdecimal()
                    and entry.name == result_name(int(number))
                    and int(number) < self._job.batches
                    and is_file(entry)
                ):
                    yield int(number), entry

    def strays(self) -> list[Path]:
        """What lies among the results and is none, except what is being written or left over."""
        known = {result_name(batch) for batch in self.done()}
        paths = sorted(self._folder.iterdir())
        return [p for p in paths if not p.name.startswith(".") and p.name not in known]

    def read(self, batch: int) -> BatchResult:
        """A batch's result; raises `Corrupt`, with the way out, when it cannot be that."""
        try:
            return self._parse(batch, read_regular(self.path(batch)))
        except Corrupt as error:
            raise Corrupt(f"{error} `producer resume {self._job.id}` computes it again.") from None

    def _parse(self, batch: int, content: bytes) -> BatchResult:
        job, path = self._job, self.path(batch)
        result = BatchResult.from_bytes(content, path)
        if result.model != job.model:
            raise Corrupt(f"The result {path} is of {result.model}, the job is of {job.model}.")
        if fault := result.nonsense(len(job.span(batch)), len(job.labels), job.depth):
            raise Corrupt(f"The result {path} {fault}.")
        return result

    def write(self, batch: int, result: BatchResult) -> bool:
        """Write a result once; False for a batch that was computed twice with the same outcome.

        The first result stays, unless it is damaged. With another outcome, see
        `BatchResult.agrees`, the second is put beside it and `ConflictingResult` names both.
        Not fsynced: the file has checksums, and a batch lost to a power cut is computed again.
        """
        path = self.path(batch)
        content = result.to_bytes()
        try:
            present = read_regular(path)
            if present == content:
                return False
            kept = self._parse(batch, present)
        except (FileNotFoundError, Corrupt):  # missing, or torn by a power cut
            if path.is_dir():
                raise
            write_atomically(path, content, durable=False)
            self._saved_path(batch).unlink(missing_ok=True)
            return True
        if kept.agrees(result):
            return False
        other = make_folder(self._conflicts) / path.name
        write_atomically(other, content)
        raise ConflictingResult(self._conflict(batch, kept, result))

    def discard(self, batch: int) -> None:
        """Remove a damaged, failed or doubtful result, so that the batch is computed again."""
        discard(self.path(batch))
        discard(self._conflicts / result_name(batch))

    def save(self, batch: int, result: BatchResult) -> None:
        """Keep what is finished of a batch, its first images, should the attempt end here."""
        path = self._saved_path(batch)
        make_folder(path.parent)
        write_atomically(path, result.to_bytes(), durable=False)

    def saved(self, batch: int) -> BatchResult | None:
        """What a former attempt has finished, if there is any of the same model."""
        path = self._saved_path(batch)
        try:
            result = BatchResult.from_bytes(read_regular(path), path)
        except (FileNotFoundError, Corrupt):
            return None
        job, count = self._job, len(result.predictions)
        fits = result.model == job.model and count < len(job.span(batch))
        return result if fits and not result.nonsense(count, len(job.labels), job.depth) else None

    def _saved_path(self, batch: int) -> Path:
        return self._saved / result_name(batch)

    def conflicts(self) -> dict[int, str | None]:
        """By batch that has a second result kept beside its first, what these say differently.

        None where they agree. A damaged one says nothing.
        """
        found = {}
        for batch in sorted(self.done()):
            path = self._conflicts / result_name(batch)
            if path.is_file():
                with suppress(Corrupt):
                    other = self._parse(batch, read_regular(path))
                    found[batch] = self._conflict(batch, self.read(batch), other)
        return found

    def _conflict(self, batch: int, kept: BatchResult, other: BatchResult) -> str | None:
        """What two results of one batch say differently, and the way out; none if they agree."""
        if kept.agrees(other):
            return None
        path = self.path(batch)
        differing = int(kept.differing(other).sum())
        return (
            f"Batch {batch} of job {self._job.id} was computed twice with different outcomes, for "
            f"{differing} of its {counted(len(kept.predictions), 'image')}: {path} is kept, "
            f"the other is {self._conflicts / path.name}. "
            f"`producer resume {self._job.id}` computes it again."
        )

    def failed_images(self) -> int:
        """Images with an error record. A damaged result counts none."""
        failed = 0
        for batch in self.done():
            path = self.path(batch)
            with suppress(Corrupt, FileNotFoundError):
                failed += count_errors(read_regular(path), path)
        return failed

    def last_written_at(self) -> datetime:
        """When the last result was written."""
        written = [entry.stat().st_mtime for _, entry in self._entries()]
        return datetime.fromtimestamp(max(written, default=0.0), UTC)


def result_name(batch: int) -> str:
    """File name of a batch's result."""
    return f"{batch:06d}.npz"
