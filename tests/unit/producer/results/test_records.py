import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from producer.errors import DamagedResult
from producer.results.merging import Gathering, merge
from producer.results.record_formats import export, export_file
from producer.results.records import ROW_GROUP_ROWS, read_tables
from storage.jobs.inputs import UNLABELLED
from storage.jobs.job import Job
from storage.jobs.store import JobStore
from tests.builders import array_job, encode, file_job, image_file, images_of
from tests.fake_queue import FakeWorker

COLUMNS = ["id", "path", "label", "prediction", "score", "model", "batch", "error"]


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path)


def five_files(store: JobStore, **fields: object) -> Job:
    labels = [0, UNLABELLED, 1, 2, 2]
    images = [image_file(encode(images_of([i])[0]), i, label=labels[i]) for i in range(5)]
    return file_job(store, images, batch_size=2, **fields)


def finish(store: JobStore, job: Job, errors: dict[int, str] | None = None) -> None:
    worker = FakeWorker(store, errors or {})
    for batch in range(job.batches):
        store.of(job).results.write(batch, worker.result(job, batch))


def test_the_records_are_exactly_these_columns_of_these_types(store: JobStore) -> None:
    job = five_files(store)
    finish(store, job)
    merge(store.of(job))
    schema = pq.read_schema(store.path(job.id) / "predictions.parquet")
    text = pa.string()
    types = [text, text, text, text, pa.float32(), text, pa.int32(), text]
    assert list(zip(schema.names, schema.types, strict=True)) == list(
        zip(COLUMNS, types, strict=True)
    )


def test_every_image_has_one_record_in_the_order_of_the_job(store: JobStore) -> None:
    job = five_files(store)
    finish(store, job, {3: "damaged image: broken"})
    merge(store.of(job))
    rows = pq.read_table(store.path(job.id) / "predictions.parquet").to_pylist()
    assert [row["id"] for row in rows] == [f"image-{i}" for i in range(5)]
    assert [row["path"] for row in rows] == [f"folder/{i}.png" for i in range(5)]
    assert [row["label"] for row in rows] == ["zero", None, "one", "two", "two"]
    assert [row["prediction"] for row in rows] == ["zero", "one", "two", None, "one"]
    assert [row["score"] is None for row in rows] == [False, False, False, True, False]
    assert rows[1]["score"] == pytest.approx(0.51)
    assert [row["batch"] for row in rows] == [0, 0, 1, 1, 2]
    assert {row["model"] for row in rows} == {"digits@1"}


def test_every_failed_image_has_a_line_with_its_reason(store: JobStore) -> None:
    job = five_files(store)
    finish(store, job, {3: "damaged image: “broken”", 0: "too many pixels"})
    merge(store.of(job))
    lines = (store.path(job.id) / "errors.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": "image-0", "path": "folder/0.png", "batch": 0, "reason": "too many pixels"},
        {"id": "image-3", "path": "folder/3.png", "batch": 1, "reason": "damaged image: “broken”"},
    ]


def test_an_image_of_an_array_has_its_position_as_id_and_no_path(store: JobStore) -> None:
    job = array_job(store, images_of(range(5)), [0, 1, 2, UNLABELLED, 1], batch_size=3)
    finish(store, job)
    rows = [row for table in read_tables(store.of(job)) for row in table.to_pylist()]
    assert [row["id"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [row["label"] for row in rows] == ["zero", "one", "two", None, "one"]
    assert {row["path"] for row in rows} == {None}


def test_merging_gives_the_same_bytes_whatever_order_the_results_come_in(store: JobStore) -> None:
    images = images_of([i % 250 for i in range(3 * ROW_GROUP_ROWS + 5)])
    files = []
    for id_, order in (("forwards", 1), ("backwards", -1)):
        job = array_job(store, images, batch_size=7_000, window=3, id=id_)
        worker = FakeWorker(store, {70: "damaged image"})
        with Gathering(store.of(job)) as gathering:
            for batch in list(range(job.batches))[::order]:
                store.of(job).results.write(batch, worker.result(job, batch))
                gathering.look()
            gathering.merge()
        folder = store.path(id_)
        files.append([(folder / f).read_bytes() for f in ("predictions.parquet", "errors.jsonl")])
    assert files[0] == files[1]
    assert pq.read_metadata(folder / "predictions.parquet").num_rows == len(images)
    assert pq.read_metadata(folder / "predictions.parquet").num_row_groups == 3


def test_nothing_is_merged_before_the_last_result_is_there(store: JobStore) -> None:
    job = five_files(store)
    worker = FakeWorker(store)
    for batch in (0, 2):
        store.of(job).results.write(batch, worker.result(job, batch))
    with Gathering(store.of(job)) as gathering:
        gathering.look()
        assert (gathering.done, gathering.images) == (2, 3)
        assert (gathering.tally.predicted, gathering.next_batch) == (2, 1)
    assert {path.name for path in store.path(job.id).iterdir()} == {
        "job.json",
        "inputs",
        "attempts",
        "results",
    }


def test_merging_again_counts_again_and_leaves_the_file_alone(store: JobStore) -> None:
    job = five_files(store)
    finish(store, job, {4: "damaged image"})
    first = merge(store.of(job))
    before = (store.path(job.id) / "predictions.parquet").stat()
    again = merge(store.of(job))
    assert (store.path(job.id) / "predictions.parquet").stat().st_ino == before.st_ino
    assert (first.predicted, first.failed) == (again.predicted, again.failed) == (4, 1)
    assert again.evaluation == first.evaluation


def test_a_damaged_result_is_an_error_that_says_how_to_have_it_computed_again(
    store: JobStore,
) -> None:
    job = five_files(store)
    finish(store, job)
    store.of(job).results.path(1).write_bytes(b"torn")
    with pytest.raises(DamagedResult, match="`producer resume job` computes it again"):
        merge(store.of(job))
    assert not (store.path(job.id) / "predictions.parquet").exists()


# What people take away


def test_csv_has_a_header_and_an_empty_field_for_null(store: JobStore) -> None:
    job = five_files(store)
    finish(store, job, {3: "damaged image"})
    buffer = io.BytesIO()
    assert export(read_tables(store.of(job)), buffer, ".csv") == 5
    rows = list(csv.DictReader(io.StringIO(buffer.getvalue().decode())))
    assert list(rows[0]) == COLUMNS
    assert [row["prediction"] for row in rows] == ["zero", "one", "two", "", "one"]
    assert [row["score"] for row in rows] == ["0.5", "0.51", "0.52", "", "0.54"]
    assert [row["error"] for row in rows] == ["", "", "", "damaged image", ""]


def test_csv_quotes_what_has_to_be_quoted(store: JobStore) -> None:
    awkward = 'a, "b"\nc'
    job = file_job(store, [image_file(b"", id=awkward)], batch_size=2)
    finish(store, job)
    buffer = io.BytesIO()
    export(read_tables(store.of(job)), buffer, ".csv")
    assert [row["id"] for row in csv.DictReader(io.StringIO(buffer.getvalue().decode()))] == [
        awkward
    ]


def test_jsonl_writes_a_score_as_short_as_it_is(store: JobStore, tmp_path: Path) -> None:
    job = five_files(store)
    finish(store, job, {3: "damaged image"})
    assert export_file(read_tables(store.of(job)), tmp_path / "out.jsonl") == 5
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert list(rows[0]) == COLUMNS
    assert [row["score"] for row in rows] == [0.5, 0.51, 0.52, None, 0.54]
    assert [row["error"] for row in rows] == [None, None, None, "damaged image", None]


def test_parquet_holds_the_same_records_as_the_merged_file(store: JobStore, tmp_path: Path) -> None:
    job = five_files(store)
    finish(store, job, {3: "damaged image"})
    merge(store.of(job))
    export_file(read_tables(store.of(job)), tmp_path / "out.parquet")
    merged = pq.read_table(store.path(job.id) / "predictions.parquet")
    assert pq.read_table(tmp_path / "out.parquet") == merged


def test_an_export_that_fails_leaves_no_half_file(store: JobStore, tmp_path: Path) -> None:
    job = five_files(store)
    finish(store, job)
    store.of(job).results.path(2).write_bytes(b"torn")
    with pytest.raises(DamagedResult):
        export_file(read_tables(store.of(job)), tmp_path / "out.csv")
    assert not list(tmp_path.glob("*out.csv*"))
