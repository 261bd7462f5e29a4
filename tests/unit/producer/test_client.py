import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
import pytest

from imaging.images import decode_image
from local.redis_server import choose_port
from messaging.settings import BrokerSettings
from producer.client import BatchsightError, JobHandle, PredictionClient
from producer.errors import (
    EmptySource,
    JobStopped,
    MissingLibrary,
    SourceError,
    UnknownLabel,
)
from producer.results.record_formats import export_file
from producer.results.records import Record
from producer.settings import ProducerSettings
from storage.errors import AlreadyExists, BadManifest, NotFound
from storage.jobs.job import Status
from storage.jobs.store import JobStore
from storage.models.runtime_choice import Runtime
from storage.models.store import ModelStore
from storage.settings import StorageSettings
from tests.builders import as_any, encode, images_of, publish, publish_both, runtime_choice
from tests.fake_queue import FakeQueue, FakeWorker
from tests.processes import REPOSITORY


class Notebook:
    """A client on a storage root with one model; a fake worker serves it unless told to wait."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.jobs = JobStore(root)
        models = ModelStore(root)
        models.promote(publish(models))
        self.worker = FakeWorker(self.jobs)
        self.queue = FakeQueue(serve=self.worker)
        self.client = PredictionClient(
            storage=StorageSettings(storage=root),
            broker=BrokerSettings(),
            settings=ProducerSettings(),
            queue=self.queue,
        )

    def finish(self, job: JobHandle, *batches: int) -> None:
        for batch in batches:
            self.jobs.of(job.job).results.write(batch, self.worker.result(job.job, batch))


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path / "storage")


def waiting(notebook: Notebook, **options: Any) -> JobHandle:
    """A job of ten images in batches of four that nobody serves."""
    notebook.queue.serve = lambda message: None
    return notebook.client.submit(images_of(range(10)), batch_size=4, **options)


# Arrays in memory


def test_an_array_with_labels_and_ids_comes_back_as_records(notebook: Notebook) -> None:
    labels = np.arange(10) % 3
    labels[0] = 2
    names = [f"image {i}" for i in range(10)]
    job = notebook.client.submit(images_of(range(10)), labels=labels, ids=names, batch_size=4)
    records = list(job)
    assert records[0] == Record(
        id="image 0",
        prediction="zero",
        score=0.5,
        label="two",
        error=None,
        top=(("zero", 0.5),),
    )
    assert [record.id for record in records] == names
    assert [record.prediction for record in records] == ["zero", "one", "two"] * 3 + ["zero"]
    summary = job.wait()
    assert (summary.labelled, summary.accuracy) == (10, 0.9)
    assert list(job.faults()) == []
    assert [row["id"] for table in job.records() for row in table.to_pylist()] == names


@pytest.mark.parametrize(
    "arrange",
    [
        lambda images: images,
        lambda images: images[..., 0],
        np.asfortranarray,
        lambda images: np.repeat(images, 2, axis=0)[::2],
    ],
    ids=["N H W C", "N H W", "Fortran order", "every second row"],
)
def test_the_pixels_are_copied_into_the_job_whatever_their_order_in_memory(
    notebook: Notebook, arrange: Callable[[Any], Any]
) -> None:
    images = np.random.default_rng(1).integers(0, 256, (10, 5, 4, 1), np.uint8)
    job = notebook.client.submit(arrange(images))
    np.testing.assert_array_equal(
        notebook.jobs.of(job.job).inputs.open_array(), arrange(images), strict=True
    )
    assert list(job.faults()) == []


@pytest.mark.parametrize(
    ("labels", "indices"),
    [
        (["zero", "two", ""], [0, 2, -1]),
        (("two", "one", "zero"), [2, 1, 0]),
        ([2, 0, -1], [2, 0, -1]),
        (np.array([1, 1, 0], np.uint8), [1, 1, 0]),
        (np.array(["one", None, float("nan")], object), [1, -1, -1]),
        (iter(["one", "two", "zero"]), [1, 2, 0]),
    ],
    ids=["names", "tuple", "indices", "bytes", "as pandas has them", "iterator"],
)
def test_labels_are_names_or_indices(
    notebook: Notebook, labels: Iterable[object], indices: list[int]
) -> None:
    job = notebook.client.submit(images_of(range(3)), labels=labels)
    stored = notebook.jobs.of(job.job).inputs.open_labels()
    assert stored is not None
    assert stored.tolist() == indices
    assert job.job.labelled == sum(index >= 0 for index in indices)


def test_ids_may_be_numbers_and_text_that_utf_8_cannot_hold(notebook: Notebook) -> None:
    job = notebook.client.submit(images_of(range(3)), ids=[7, np.int64(8), "\ud800é"])
    assert [record.id for record in job] == ["7", "8", "?é"]


def test_a_limit_cuts_images_labels_and_ids_alike(notebook: Notebook) -> None:
    job = notebook.client.submit(
        images_of(range(10)), labels=[0] * 10, ids=list("abcdefghij"), limit=3
    )
    assert [record.id for record in job] == ["a", "b", "c"]
    assert job.wait().labelled == 3


def test_the_source_of_a_job_over_an_array_is_its_type_and_shape(notebook: Notebook) -> None:
    job = notebook.client.submit(images_of(range(3)), job_id="mine")
    assert job.job.source == "uint8 array (3, 4, 4, 1)"
    assert repr(job) == "<Job mine: 3 images for digits@1>"


def test_files_may_be_paths(notebook: Notebook, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", images_of(range(3)))
    assert notebook.client.submit(tmp_path / "images.npy").job.total == 3


@pytest.mark.parametrize(
    ("sources", "options", "sentence"),
    [
        ([np.zeros((2, 4, 4), np.float32)], {}, r"float32 array .* give pixels of 0 to 255"),
        ([np.zeros((4, 4), np.uint8)], {}, r"has the shape \(4, 4\)"),
        ([images_of([1])] * 2, {}, "Submit one NumPy array"),
        ([[images_of([1])]], {}, "this is a list"),
        ([images_of([1])], {"labels": [0, 1]}, r"1 image, but labels of the shape \(2,\)"),
        ([images_of([1, 2])], {"labels": np.eye(2, dtype=int)}, "give one label per image"),
        ([images_of([1, 2])], {"labels": [[0], [0, 1]]}, "no list of single values"),
        ([images_of([1, 2])], {"labels": [0.5, 1.0]}, "use whole numbers or text"),
        ([images_of([1])], {"ids": ["a", "b"]}, "there are 2 ids: give one id per image"),
        (["digits:test"], {"labels": [0]}, "labels= and ids= go with one array"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_sentence_and_leaves_nothing(
    notebook: Notebook, sources: list[Any], options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SourceError, match=sentence):
        notebook.client.submit(*sources, **options)
    assert notebook.jobs.ids() == []
    assert notebook.queue.sent == []


def test_an_empty_array_and_unknown_labels_are_refused(notebook: Notebook) -> None:
    with pytest.raises(EmptySource):
        notebook.client.submit(images_of([]))
    with pytest.raises(UnknownLabel, match=r"\(nine\): it knows zero, one, two"):
        notebook.client.submit(images_of([1]), labels=["nine"])


def test_the_same_arrays_under_the_same_id_are_the_same_job(notebook: Notebook) -> None:
    images, ids = images_of(range(3)), ["a", "b", "c"]
    notebook.client.submit(images, ids=ids, job_id="mine")
    again = notebook.client.submit(images.copy(), ids=tuple(ids), job_id="mine")
    assert any("nothing is sent twice" in note for note in again.notes)
    for other in ({"ids": ["a", "b", "d"]}, {}, {"ids": ids, "labels": [0, 1, 2]}):
        with pytest.raises(AlreadyExists):
            notebook.client.submit(images, job_id="mine", **as_any(other))
    with pytest.raises(AlreadyExists):
        notebook.client.submit(images + 1, ids=ids, job_id="mine")


def test_verify_finds_that_ids_were_changed(notebook: Notebook) -> None:
    job = notebook.client.submit(images_of(range(3)), ids=["a", "b", "c"])
    path = notebook.jobs.path(job.id) / "inputs" / "ids.arrow"
    path.write_bytes(path.read_bytes().replace(b"abc", b"abd"))
    assert any("The images, labels or ids are not" in fault for fault in job.faults())


# Following a job


def test_records_come_in_order_as_batches_finish(notebook: Notebook) -> None:
    job = waiting(notebook)
    notebook.finish(job, 0)
    records = iter(job)
    assert [next(records).id for _ in range(4)] == ["0", "1", "2", "3"]
    notebook.finish(job, 2, 1)
    assert [record.id for record in records] == ["4", "5", "6", "7", "8", "9"]


def test_iterating_ends_with_an_error_when_the_job_does(notebook: Notebook) -> None:
    job = waiting(notebook)
    notebook.finish(job, 0, 2)
    job.cancel()
    told = []
    with pytest.raises(JobStopped, match=r"2 of 3 batches done: It was cancelled by hand\."):
        for record in job:
            told.append(record.id)
    assert told == ["0", "1", "2", "3", "8", "9"]
    with pytest.raises(JobStopped, match="producer resume"):
        job.to_arrow()


def test_whoever_stops_iterating_can_begin_again(notebook: Notebook) -> None:
    job = notebook.client.submit(images_of(range(10)), batch_size=4)
    for record in job:
        assert record.id == "0"
        break
    assert len(list(job)) == 10
    assert job.wait().status is Status.COMPLETED


def test_a_failed_image_is_a_record_with_its_reason(notebook: Notebook, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(encode(images_of([number])[0]))
    notebook.worker.errors = {1: "damaged image: broken"}
    job = notebook.client.submit(str(folder))
    failed = list(job)[1]
    assert failed == Record(
        id="1.png", prediction=None, score=None, label=None, error="damaged image: broken"
    )
    assert job.to_arrow()["error"].to_pylist() == [None, "damaged image: broken", None]


def test_to_arrow_waits_and_gives_all_records(notebook: Notebook) -> None:
    job = waiting(notebook, labels=[0] * 10)
    notebook.queue.serve = notebook.worker
    job.resume()
    table = job.to_arrow()
    columns = ["id", "path", "label", "prediction", "score", "model", "batch", "error"]
    assert table.column_names == columns
    assert table["prediction"].to_pylist() == ["zero", "one", "two"] * 3 + ["zero"]
    assert table.sort_by("prediction")["prediction"][0].as_py() == "one"
    assert table["batch"].to_pylist() == [0] * 4 + [1] * 4 + [2] * 2


def test_to_pandas_says_when_pandas_is_missing(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(as_any(sys.modules), "pandas", None)
    with pytest.raises(MissingLibrary, match=r"`pip install pandas`, or use to_arrow\(\)"):
        notebook.client.submit(images_of(range(3))).to_pandas()


def test_labels_that_fit_in_another_order_are_pointed_out_when_the_job_has_ended(
    notebook: Notebook,
) -> None:
    images = images_of([0, 1, 2] * 20)
    right = notebook.client.submit(images, labels=["zero", "one", "two"] * 20).wait()
    turned = notebook.client.submit(images, labels=["one", "two", "zero"] * 20).wait()
    assert (right.accuracy, right.label_order) == (1.0, None)
    assert turned.accuracy == 0.0
    assert turned.label_order is not None
    assert "100% instead of 0% if zero is two, one is zero, two is one" in turned.label_order


def test_what_was_assumed_of_a_source_stays_with_its_job(notebook: Notebook) -> None:
    job = notebook.client.submit(np.zeros((64, 48, 3), np.uint8))
    assert job.job.total == 1
    assert job.wait().notes == tuple(job.notes) != ()
    assert notebook.client.submit(images_of([1])).wait().notes is None


# Which runtime


@pytest.mark.parametrize("chosen", ["onnx", "tensorflow"])
@pytest.mark.parametrize("told", ["auto", "onnx", "tensorflow"])
def test_a_job_is_pinned_to_the_runtime_that_was_chosen_or_told(
    tmp_path: Path, chosen: Runtime, told: Literal["auto", "onnx", "tensorflow"]
) -> None:
    models = ModelStore(tmp_path)
    version = publish_both(models, runtime=runtime_choice(100, chosen))
    models.promote(version)
    job = client_of(tmp_path, runtime=told).submit(BLANK[:4]).job
    assert job.model.runtime == (chosen if told == "auto" else told)
    assert job.model.sha256 == version.manifest.digests[job.model.runtime]


def test_a_job_is_not_submitted_for_a_runtime_that_its_model_lacks(tmp_path: Path) -> None:
    models = ModelStore(tmp_path)
    choice = runtime_choice(100).model_copy(update={"reason": "its export to ONNX fails: Erfinv"})
    models.promote(publish(models, runtime=choice))
    with pytest.raises(NotFound) as refused:
        client_of(tmp_path, runtime="onnx").submit(BLANK[:4])
    assert str(refused.value) == (
        "digits@1 cannot be used with ONNX Runtime, only with TensorFlow: its export to ONNX "
        "fails: Erfinv."
    )
    assert JobStore(tmp_path).ids() == []


# How large a batch is

BLANK = np.zeros((400, 5, 4, 1), np.uint8)


def client_of(root: Path, **settings: Any) -> PredictionClient:
    """A client whose jobs nobody serves."""
    return PredictionClient(
        storage=StorageSettings(storage=root),
        broker=BrokerSettings(),
        settings=ProducerSettings(**settings),
        queue=FakeQueue(),
    )


def lasting(
    root: Path, speed: float | None, limit_seconds: int, measured: float | None = None
) -> PredictionClient:
    """A client whose only model is so fast, where a step of a batch may take so long.

    Its workers have `measured` another speed.
    """
    models = ModelStore(root)
    models.promote(publish(models, runtime=None if speed is None else runtime_choice(speed)))
    return PredictionClient(
        storage=StorageSettings(storage=root),
        broker=BrokerSettings(soft_time_limit_seconds=limit_seconds, time_limit_seconds=1000),
        settings=ProducerSettings(),
        queue=FakeQueue(speed=measured),
    )


@pytest.mark.parametrize("speed", [None, 0.0, 0.05, 1.0, 6.4, 500.0, 100_000.0])
@pytest.mark.parametrize("limit_seconds", [5, 20, 240])
def test_a_batch_ends_long_before_its_time_limit_however_slow_the_model(
    tmp_path: Path, speed: float | None, limit_seconds: int
) -> None:
    job = lasting(tmp_path, speed, limit_seconds).submit(BLANK[:400]).job
    slowest = speed or 1.0  # images a second, of a model that nobody has measured
    assert job.batch_size == 1 or job.batch_size / slowest <= limit_seconds / 10


def test_small_batches_for_a_model_that_nobody_has_measured_are_told(tmp_path: Path) -> None:
    client = lasting(tmp_path, None, 240)
    handle = client.submit(BLANK[:400])
    assert handle.job.batch_size == 16
    assert handle.notes == [
        "Nobody has measured how fast digits@1 is, so that a batch has only 16 images: "
        "`--batch-size` makes them larger."
    ]
    assert client.submit(BLANK[:100]).notes == [], "a small job has such batches anyway"
    assert client.submit(BLANK[:400], batch_size=4).notes == [], "the user's own choice"


@pytest.mark.parametrize("trained", [None, 1.0, 1000.0])
def test_batches_are_cut_by_the_speed_that_workers_have_measured(
    tmp_path: Path, trained: float | None
) -> None:
    handle = lasting(tmp_path, trained, 240, measured=30.0).submit(BLANK[:400])
    assert handle.job.batch_size == 30
    assert handle.notes == []


def test_a_job_that_keeps_other_classes_than_asked_for_is_told(tmp_path: Path) -> None:
    client = lasting(tmp_path, 1000, 240)
    client.submit(BLANK[:20], job_id="job", top=2)
    again = client.submit(BLANK[:20], job_id="job", top=3)
    assert "It keeps what it kept (--top 2): choose another --job-id for more." in again.notes[-1]
    assert "keeps what" not in client.submit(BLANK[:20], job_id="job", top=2).notes[-1]


def test_a_batch_size_that_has_people_wait_is_told(tmp_path: Path) -> None:
    client = lasting(tmp_path, 0.5, 240)
    assert client.submit(BLANK[:400], batch_size=200).notes == [
        "A batch of 200 images may take digits@1 400 s, and its predictions come only then: "
        "choose a smaller `--batch-size`."
    ]
    assert client.submit(BLANK[:400], batch_size=10).notes == []


# Errors


def away(root: Path) -> PredictionClient:
    """A client whose Redis is not there."""
    return PredictionClient(
        storage=StorageSettings(storage=root),
        broker=BrokerSettings(redis_url=f"redis://127.0.0.1:{choose_port()}/0"),
        settings=ProducerSettings(),
    )


def missing_job(notebook: Notebook) -> object:
    return notebook.client.job("gone")


def empty_source(notebook: Notebook) -> object:
    (notebook.root / "pictures").mkdir()
    return notebook.client.submit(notebook.root / "pictures")


def redis_away(notebook: Notebook) -> object:
    return away(notebook.root).submit(images_of(range(3)))


def cancelled_job(notebook: Notebook) -> object:
    job = waiting(notebook)
    job.cancel()
    return list(job)


def damaged_image(notebook: Notebook) -> object:
    return decode_image(b"no image", (8, 8, 1))


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (missing_job, "gone"),
        (empty_source, "pictures"),
        (redis_away, "Redis"),
        (cancelled_job, "cancelled by hand"),
        (damaged_image, "not an image"),
    ],
)
def test_whatever_goes_wrong_is_one_kind_of_error(
    notebook: Notebook, fault: Callable[[Notebook], object], sentence: str
) -> None:
    with pytest.raises(BatchsightError, match=sentence):
        fault(notebook)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"top": 0}, "top=0 cannot be used: it must be a whole number from 1 to 100."),
        ({"top": 101}, "top=101 cannot be used: it must be a whole number from 1 to 100."),
        ({"top": None}, "top=None cannot be used: it must be a whole number from 1 to 100."),
        ({"max_failure_rate": 1.5}, "max_failure_rate=1.5 cannot be used: it must be a number"),
        ({"max_failure_rate": float("nan")}, "max_failure_rate=nan cannot be used"),
        ({"batch_size": 0}, "batch_size=0 cannot be used"),
        ({"max_in_flight": -1}, "max_in_flight=-1 cannot be used"),
        ({"limit": 0}, "limit=0 cannot be used"),
        ({"model": 3}, "model=3 cannot be used: it must be a string."),
        ({"job_id": 3}, "job_id=3 cannot be used: it must be a string."),
        ({"job_id": ""}, "'' is no valid job id"),
        ({"job_id": "a/b"}, "'a/b' is no valid job id"),
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_used_is_that_kind_of_error(
    notebook: Notebook, option: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BatchsightError, match=f"^{re.escape(sentence)}"):
        notebook.client.submit(images_of(range(3)), **option)
    assert notebook.jobs.ids() == []


def test_numbers_of_numpy_are_as_good_as_any(notebook: Notebook) -> None:
    rate, two = as_any(np.float32(0.5)), as_any(np.int64(2))
    job = notebook.client.submit(
        images_of(range(3)), max_failure_rate=rate, batch_size=two, top=two, limit=two
    ).job
    assert (job.max_failure_rate, job.batch_size, job.top, job.total) == (0.5, 2, 2, 2)


def test_nothing_to_submit_is_that_kind_of_error(notebook: Notebook) -> None:
    with pytest.raises(BatchsightError, match="Submit one NumPy array of images"):
        notebook.client.submit()


BAD_SETTING = """
from producer.client import BatchsightError, PredictionClient
try:
    PredictionClient()
except BatchsightError as error:
    print(error)
"""


def test_a_setting_that_cannot_be_used_is_that_kind_of_error_too() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BAD_SETTING],
        cwd=REPOSITORY,
        env={**os.environ, "BATCHSIGHT_LEASE_SECONDS": "never"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("BATCHSIGHT_LEASE_SECONDS=")


# Columns of a manifest


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", "path;Site; site no;score\na.png;Nord, links;7;1\nb.png;;8;2\n"),
        (
            "m.jsonl",
            '{"path": "a.png", "Site": "Nord, links", "score": 1}\n'
            '{"path": "b.png", "site no": 8}\n',
        ),
    ],
)
def test_columns_of_a_manifest_go_through_to_the_records_in_every_format(
    notebook: Notebook, tmp_path: Path, name: str, text: str
) -> None:
    for image in ("a.png", "b.png"):
        (tmp_path / image).write_bytes(encode(images_of([1])[0]))
    (tmp_path / name).write_text(text)
    job = notebook.client.submit(tmp_path / name)
    assert any("`Site` and `site no`" in n or "`Site`" in n for n in job.notes)
    assert any("`score` is not kept: the records have their own" in n for n in job.notes)
    first, second = list(job)
    number = "7" if name == "m.csv" else ""
    assert first.others == {"Site": "Nord, links", "site no": number}
    assert second.others == {"Site": "", "site no": "8"}
    assert first.score == 0.5, "the score of the manifest is not taken for one of the model"
    assert job.to_arrow()["Site"].to_pylist() == ["Nord, links", ""]
    job.tally()
    merged = pq.read_table(notebook.jobs.path(job.id) / "predictions.parquet")
    assert merged["site no"].to_pylist() == [number, "8"]
    for suffix in (".csv", ".jsonl", ".parquet"):
        target = tmp_path / f"out{suffix}"
        export_file(job.records(), target)
    assert '"Nord, links",' in (tmp_path / "out.csv").read_text()
    assert '"site no": "8"' in (tmp_path / "out.jsonl").read_text().splitlines()[1]
    assert pq.read_table(tmp_path / "out.parquet")["Site"].to_pylist() == ["Nord, links", ""]


def test_a_column_called_like_a_probability_is_not_in_a_csv_file_twice(
    notebook: Notebook, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(encode(images_of([1])[0]))
    (tmp_path / "m.csv").write_text("path,p_one,p_me\na.png,mine,me\n")
    job = notebook.client.submit(tmp_path / "m.csv", probabilities=True)
    job.wait()
    export_file(job.records(), tmp_path / "out.csv")
    names = (tmp_path / "out.csv").read_text().splitlines()[0].replace('"', "").split(",")
    assert names[-5:] == ["error", "p_me", "p_zero", "p_one", "p_two"]


def test_a_manifest_with_too_many_columns_is_one_sentence(
    notebook: Notebook, tmp_path: Path
) -> None:
    path = tmp_path / "m.csv"
    path.write_text("path," + ",".join(f"c{i}" for i in range(101)) + "\na.png\n")
    with pytest.raises(BadManifest, match="has 101 columns besides path, label and id"):
        notebook.client.submit(path)
