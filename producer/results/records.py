"""The records of a job, one per image, as tables and files.

    id, path, label, prediction, score, model, batch, error

With `--top 2` prediction_2 and score_2 follow the score, with `--probabilities` one list of all
classes follows the rest. A failed image has none of these, but its reason as `error`.
"""

import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from producer.errors import DamagedResult, MissingLibrary
from storage.errors import Corrupt
from storage.files import TEMPORARY_PREFIX, share, sync_folder, write_atomically
from storage.jobs.job import Job
from storage.jobs.results import BatchResult
from storage.jobs.stored_job import StoredJob
from storage.manifests.columns import is_reserved

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PREDICTIONS_FILE = "predictions.parquet"
ERRORS_FILE = "errors.jsonl"
MERGE_FILE = "merge.json"
ROW_GROUP_ROWS = 20_000
ROW_GROUP_PROBABILITIES = 8_000_000
"""Where all probabilities are kept, row groups are so much shorter."""
CLASSES = b"classes"
"""Key of the schema's metadata under which the order of the probabilities is told, as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What came of one image: a prediction, or an error with its reason."""

    id: str
    prediction: str | None
    score: float | None
    """Its probability, 0 to 1."""
    label: str | None
    """The true class, when it is known."""
    error: str | None
    top: tuple[tuple[str, float], ...] = ()
    """The likeliest classes with their probabilities, as many as the job keeps."""
    probabilities: Mapping[str, float] | None = None
    """Of every class, when the job keeps them."""
    others: Mapping[str, str] = field(default_factory=dict)
    """What the user's own columns of the manifest say of it."""


@dataclass(frozen=True, kw_only=True)
class Identities:
    """Who the images of a batch are."""

    ids: "pa.Array"
    """Strings (N,)."""
    paths: "pa.Array"
    """Strings (N,), null for images of an array."""
    labels: NDArray[np.int32] | None
    """Class indices (N,), negative where unlabelled; none when the job has no labels at all."""
    others: Mapping[str, "pa.Array"] = field(default_factory=dict)
    """Strings (N,) of each column of the user's own."""


def read_identities(stored: StoredJob, batch: int) -> Identities:
    """Ids, paths and labels of a batch.

    Without ids of its own an image of an array has its position as id.
    """
    import pyarrow as pa

    job = stored.job
    if job.array is None:
        columns = stored.inputs.read_columns(batch)
        return Identities(
            ids=pa.array(columns.ids, pa.string()),
            paths=pa.array(columns.paths, pa.string()),
            labels=columns.labels if job.labelled else None,
            others={name: pa.array(texts, pa.string()) for name, texts in columns.others.items()},
        )
    span = job.span(batch)
    labels = stored.inputs.open_labels()
    ids = stored.inputs.read_ids(span)
    if ids is None:
        ids = pa.array(np.arange(span.start, span.stop)).cast(pa.string())
    return Identities(
        ids=ids,
        paths=pa.nulls(len(span), pa.string()),
        labels=None if labels is None else np.asarray(labels[span.start : span.stop]),
    )


def batch_table(job: Job, batch: int, who: Identities, result: BatchResult) -> "pa.Table":
    """The records of one batch. Text that repeats is dictionary-encoded."""
    import pyarrow as pa

    count = len(result.predictions)
    names = pa.array(job.labels, pa.string())
    failed = result.predictions < 0

    def named(indices: NDArray[np.int32]) -> "pa.DictionaryArray":
        return pa.DictionaryArray.from_arrays(
            pa.array(indices, pa.int32(), mask=np.asarray(indices) < 0), names
        )

    ranks = {}
    for rank in range(min(job.top, job.depth)):
        suffix = f"_{rank + 1}" if rank else ""
        ranks[f"prediction{suffix}"] = named(result.ranking.classes[:, rank])
        scores = pa.array(result.ranking.scores[:, rank], pa.float32(), mask=failed)
        ranks[f"score{suffix}"] = scores
    unlabelled = np.full(count, -1, np.int32)
    errors = pa.nulls(count, pa.string())
    if result.errors:
        errors = pa.array(map(result.errors.get, range(count)), pa.string())
    table = pa.table(
        {
            "id": who.ids,
            "path": who.paths,
            "label": named(unlabelled if who.labels is None else who.labels),
            **ranks,
            "model": pa.DictionaryArray.from_arrays(
                pa.array(np.zeros(count, np.int32)), pa.array([str(job.model)], pa.string())
            ),
            "batch": pa.array(np.full(count, batch, np.int32)),
            "error": errors,
            **who.others,
        }
    )
    return with_probabilities(table, job, result) if job.probabilities else table


def with_probabilities(table: "pa.Table", job: Job, result: BatchResult) -> "pa.Table":
    """The records with the probabilities of all classes, whose order the schema tells."""
    import pyarrow as pa

    values = pa.array(result.ranking.by_class().ravel())
    failed = pa.array(result.predictions < 0)
    column = pa.FixedSizeListArray.from_arrays(values, len(job.labels), mask=failed)
    told = {CLASSES: json.dumps(job.labels, ensure_ascii=False)}
    return table.append_column("probabilities", column).replace_schema_metadata(told)


def classes_of(schema: "pa.Schema") -> list[str]:
    """The classes whose probabilities the records hold, in their order."""
    found: list[str] = json.loads((schema.metadata or {}).get(CLASSES, b"[]"))
    return found


def plain(table: "pa.Table") -> "pa.Table":
    """The same records with plain strings."""
    import pyarrow as pa

    fields = [
        pa.field(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type)
        for f in table.schema
    ]
    return table.cast(pa.schema(fields, table.schema.metadata))


def error_lines(batch: int, who: Identities, result: BatchResult) -> Iterator[str]:
    """One line of JSON per failed image of a batch, in order."""
    for position in sorted(result.errors):
        line = {
            "id": who.ids[position].as_py(),
            "path": who.paths[position].as_py(),
            "batch": batch,
            "reason": result.errors[position],
        }
        yield json.dumps(line, ensure_ascii=False) + "\n"


def read_sound_result(stored: StoredJob, batch: int) -> BatchResult:
    """A batch's result; raises `DamagedResult`, with the way out, for one that cannot be read."""
    try:
        return stored.results.read(batch)
    except Corrupt as error:
        raise DamagedResult(str(error)) from None


def read_tables(stored: StoredJob) -> Iterator["pa.Table"]:
    """The records of a job, a table per batch, in order; batches that are not done are left out."""
    for batch in sorted(stored.results.done()):
        yield read_batch(stored, batch)


def read_batch(stored: StoredJob, batch: int) -> "pa.Table":
    """The records of one finished batch."""
    result = read_sound_result(stored, batch)
    return batch_table(stored.job, batch, read_identities(stored, batch), result)


def read_records(table: "pa.Table") -> Iterator[Record]:
    """The rows of a table of `read_batch`."""
    classes = classes_of(table.schema)
    own = [name for name in table.column_names if not is_reserved(name)]
    for row in table.to_pylist():
        numbers = row.get("probabilities")
        yield Record(
            id=row["id"],
            prediction=row["prediction"],
            score=row["score"],
            label=row["label"],
            error=row["error"],
            top=() if row["prediction"] is None else tuple(ranks_of(row)),
            probabilities=numbers and dict(zip(classes, numbers, strict=True)),
            others={name: row[name] for name in own},
        )


def ranks_of(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The classes of a record with their scores, the likeliest first."""
    yield row["prediction"], row["score"]
    rank = 2
    while f"prediction_{rank}" in row:
        yield row[f"prediction_{rank}"], row[f"score_{rank}"]
        rank += 1


def to_pandas(table: "pa.Table") -> "pd.DataFrame":
    try:
        import pandas  # noqa: F401
    except ImportError:
        raise MissingLibrary(
            "pandas is not installed: `pip install pandas`, or use to_arrow() instead."
        ) from None
    return table.to_pandas()


class PredictionsWriter:
    """Writes `predictions.parquet` and `errors.jsonl` of a job, batch by batch in order.

    The same results give the same bytes, whoever writes them and whenever: row groups end at
    fixed batches, and no time or machine is recorded. Nothing is visible before `commit`.
    """

    def __init__(self, folder: Path, draft: str | None = None) -> None:
        """`draft` names its drafts, so that whoever begins again writes over its own."""
        # Arrow takes 60 ms to import. Nobody waits for it here, while the workers begin.
        import pyarrow.compute
        import pyarrow.parquet  # noqa: F401

        self._folder = folder
        self._began_at = time.time()
        suffix = draft or secrets.token_hex(4)
        self._predictions = folder / f"{TEMPORARY_PREFIX}{PREDICTIONS_FILE}-{suffix}"
        self._errors = folder / f"{TEMPORARY_PREFIX}{ERRORS_FILE}-{suffix}"
        self._error_file = self._errors.open("w", encoding="utf-8")
        self._file: Any = None
        self._writer: Any = None
        self._tables: list[pa.Table] = []
        self._rows = 0
        self._counts = {"failed": 0, "labelled": 0, "right": 0}

    def __enter__(self) -> "PredictionsWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Throw away what was not committed."""
        with suppress(OSError):  # a full disk, say: what cannot be written any more is not needed
            self._error_file.close()
        for opened in (self._writer, self._file):
            if opened is not None:
                with suppress(OSError):
                    opened.close()
        self._predictions.unlink(missing_ok=True)
        self._errors.unlink(missing_ok=True)

    def write(self, job: Job, batch: int, who: Identities, result: BatchResult) -> None:
        """Append the records of the next batch."""
        self._tables.append(batch_table(job, batch, who, result))
        self._rows += len(result.predictions)
        self._counts["failed"] += len(result.errors)
        if who.labels is not None:
            known = (who.labels >= 0) & (result.predictions >= 0)
            self._counts["labelled"] += int(known.sum())
            self._counts["right"] += int((known & (who.labels == result.predictions)).sum())
        self._error_file.writelines(error_lines(batch, who, result))
        if self._rows >= row_group_rows(job):
            self._flush()

    def commit(self) -> Path:
        """Put both files into place and return the path of the predictions."""
        self.close()
        target = self._folder / PREDICTIONS_FILE
        self._errors.replace(self._folder / ERRORS_FILE)
        facts = {"began_at": self._began_at, "ended_at": time.time(), **self._counts}
        write_atomically(self._folder / MERGE_FILE, json.dumps(facts).encode(), durable=False)
        self._predictions.replace(target)  # last: with it the merge counts as done
        sync_folder(self._folder)
        return target

    def close(self) -> tuple[Path, Path]:
        """Finish both files and return where they lie for now."""
        self._flush()
        self._writer.close()
        self._file.close()
        self._error_file.flush()
        if self._error_file.tell():  # an empty file has nothing to lose
            os.fsync(self._error_file.fileno())
        self._error_file.close()
        with self._predictions.open("rb") as file:
            os.fsync(file.fileno())
        for path in (self._predictions, self._errors):
            share(path, self._folder)
        return self._predictions, self._errors

    def _flush(self) -> None:
        if not self._tables:
            return
        import pyarrow as pa

        table = pa.concat_tables(self._tables)
        if self._writer is None:
            # Bytes: Arrow takes no path whose bytes are no text otherwise.
            self._file = pa.OSFile(os.fsencode(self._predictions), "wb")
            self._writer = open_parquet(self._file, table.schema)
        self._writer.write_table(table, row_group_size=self._rows)
        self._tables, self._rows = [], 0


def row_group_rows(job: Job) -> int:
    """After how many records a row group ends, at the end of a batch."""
    if not job.probabilities:
        return ROW_GROUP_ROWS
    return min(ROW_GROUP_ROWS, max(1, ROW_GROUP_PROBABILITIES // len(job.labels)))


def open_parquet(target: "Path | IO[bytes]", schema: "pa.Schema") -> Any:
    """A Parquet writer whose readers see plain columns, without trace of how they were made."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = pq.ParquetWriter(
        target,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=[f.name for f in schema if pa.types.is_dictionary(f.type)] + ["batch"],
        write_statistics=["score", "batch"],  # of text the same in every row group
        store_schema=False,
    )
    if schema.metadata:
        writer.add_key_value_metadata(schema.metadata)
    return writer


def read_counts(folder: Path) -> dict[str, int] | None:
    """Failed, labelled and right images as they were merged; none where nothing is or it is old."""
    try:
        facts = json.loads((folder / MERGE_FILE).read_bytes())
        return {name: int(facts[name]) for name in ("failed", "labelled", "right")}
    except (OSError, ValueError, KeyError):
        return None


def discard_merged(folder: Path) -> None:
    """Remove what was made of results that are about to change."""
    for name in (PREDICTIONS_FILE, ERRORS_FILE, MERGE_FILE):
        (folder / name).unlink(missing_ok=True)
