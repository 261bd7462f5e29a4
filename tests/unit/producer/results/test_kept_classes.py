"""Jobs that keep more than the likeliest class of each image, from the result to every format."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from producer.results.merging import merge
from producer.results.record_formats import export
from producer.results.records import classes_of, read_batch, read_records, read_tables
from producer.results.summary import summarise
from storage.errors import Corrupt
from storage.jobs.job import Job
from storage.jobs.results import BatchResult
from storage.jobs.store import JobStore
from tests.builders import LABELS, array_job, images_of
from tests.fake_queue import FakeWorker


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path)


def finished(store: JobStore, actual: list[int] | None = None, **fields: Any) -> Job:
    """Six images in two batches, the last of which failed: image `i` is of class `i` modulo 3."""
    job = array_job(store, images_of(range(6)), actual, batch_size=4, **fields)
    worker = FakeWorker(store, {5: "broken"})
    for batch in range(job.batches):
        store.of(job).results.write(batch, worker.result(job, batch))
    return job


def exported(store: JobStore, job: Job, suffix: str) -> bytes:
    buffer = io.BytesIO()
    export(read_tables(store.of(job)), buffer, suffix)
    return buffer.getvalue()


def test_ranks_are_typed_columns_in_every_format(store: JobStore) -> None:
    job = finished(store, top=2)
    merge(store.of(job))
    table = pq.read_table(store.path(job.id) / "predictions.parquet")
    ranks = ["prediction", "score", "prediction_2", "score_2"]
    assert table.column_names == ["id", "path", "label", *ranks, "model", "batch", "error"]
    assert table.schema.field("prediction_2").type == pa.string()
    assert table.schema.field("score_2").type == pa.float32()
    second = table.to_pylist()[1]
    assert (second["prediction"], second["prediction_2"]) == ("one", "zero")
    assert second["score_2"] == pytest.approx(0.49 / 3)
    assert table.to_pylist()[5]["prediction_2"] is None
    lines = list(csv.DictReader(io.StringIO(exported(store, job, ".csv").decode())))
    assert (lines[1]["prediction_2"], lines[5]["score_2"]) == ("zero", "")
    rows = [json.loads(line) for line in exported(store, job, ".jsonl").splitlines()]
    assert rows[0]["score_2"] == float(str(np.float32(0.5) / np.float32(3)))
    assert rows[1]["prediction_2"] == "zero"


def test_all_probabilities_are_kept_as_they_were_in_every_format(store: JobStore) -> None:
    job = finished(store, probabilities=True)
    merge(store.of(job))
    parquet = pq.read_table(store.path(job.id) / "predictions.parquet")
    assert classes_of(parquet.schema) == list(LABELS)
    numbers = parquet["probabilities"].to_pylist()
    assert numbers[1] == pytest.approx([0.49 / 3, 0.51, 0.49 / 3])
    assert numbers[5] is None
    assert parquet["probabilities"].type.value_type == pa.float32()
    lines = list(csv.DictReader(io.StringIO(exported(store, job, ".csv").decode())))
    assert float(lines[1]["p_one"]) == pytest.approx(0.51)
    assert lines[5]["p_one"] == ""
    rows = [json.loads(line) for line in exported(store, job, ".jsonl").splitlines()]
    assert rows[1]["probabilities"] == {
        "zero": pytest.approx(0.49 / 3),
        "one": 0.51,
        "two": pytest.approx(0.49 / 3),
    }
    assert rows[5]["probabilities"] is None


def test_a_record_tells_its_ranks_and_probabilities(store: JobStore) -> None:
    job = finished(store, top=2, probabilities=True)
    first, *_ = read_records(read_batch(store.of(job), 0))
    assert [name for name, _ in first.top] == ["zero", "one"]
    assert first.probabilities is not None
    assert list(first.probabilities) == list(LABELS)
    *_, failed = read_records(read_batch(store.of(job), 1))
    assert (failed.top, failed.probabilities, failed.error) == ((), None, "broken")


@pytest.mark.parametrize("fields", [{"top": 2}, {"probabilities": True}, {"top": 3}])
def test_a_result_is_the_same_to_the_last_byte_after_it_was_read(
    store: JobStore, fields: dict[str, Any]
) -> None:
    job = finished(store, **fields)
    path = store.of(job).results.path(1)
    content = path.read_bytes()
    assert BatchResult.from_bytes(content, path).to_bytes() == content


def test_probabilities_take_four_bytes_each(store: JobStore) -> None:
    labels = tuple(f"class {i}" for i in range(1000))
    job = array_job(store, images_of(range(100)), batch_size=100, probabilities=True)
    job = job.model_copy(update={"labels": labels})
    result = FakeWorker(store).result(job, 0)
    assert len(result.to_bytes()) < 4 * 100 * 1000 + 2_000


def test_a_result_of_another_depth_is_none_of_the_job(store: JobStore) -> None:
    deep, flat = finished(store, id="deep", top=2), finished(store, id="flat")
    store.of(flat).results.path(0).write_bytes(store.of(deep).results.path(0).read_bytes())
    with pytest.raises(Corrupt, match="ranks 2 classes, its job asks for 1"):
        store.of(flat).results.read(0)


def test_a_label_among_the_first_counts_for_the_accuracy_at_the_top(store: JobStore) -> None:
    job = finished(store, [0, 0, 0, 1, 2, 0], top=2)
    summary = summarise(store.of(job), merge(store.of(job)))
    assert summary.accuracy == 1 / 5
    assert (summary.top, summary.top_accuracy) == (2, 4 / 5)  # the fifth is a one, else a zero
    assert summarise(store.of(finished(store, id="flat")), merge(store.of(job))).top is None
