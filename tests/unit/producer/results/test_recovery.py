"""Taking up again, cancelling, verifying and pruning of jobs."""

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from messaging.errors import BrokerUnavailable
from messaging.settings import BrokerSettings
from producer.client import PredictionClient
from producer.results.merging import merge
from producer.results.pruning import prune, prune_reuse
from producer.results.recovery import Resumption, resume
from producer.results.verification import find_faults
from producer.settings import ProducerSettings
from storage.jobs.attempts import read_events
from storage.jobs.job import Job, Status
from storage.jobs.results import BatchResult
from storage.jobs.reuse import Known, ReuseStore
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.settings import StorageSettings
from tests.builders import array_job, encode, images_of, publish, ranking_of
from tests.fake_queue import FakeQueue, FakeWorker

LEASE = 60.0


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "storage")


@pytest.fixture
def models(store: JobStore) -> ModelStore:
    return ModelStore(store.root)


@pytest.fixture
def worker(store: JobStore) -> FakeWorker:
    return FakeWorker(store, {9: "damaged image"})


def work(store: JobStore, job: Job, worker: FakeWorker, *batches: int) -> None:
    for batch in batches or range(job.batches):
        store.of(job).results.write(batch, worker.result(job, batch))


# Taking up again


def test_resume_sends_the_head_of_every_chain_with_something_missing(
    store: JobStore, worker: FakeWorker
) -> None:
    job = array_job(store, images_of(range(30)), batch_size=4, window=3)
    work(store, job, worker, 0, 1, 4)
    queue = FakeQueue(waits={"job.2"})
    done = resume(store.of(job), queue, lease_seconds=LEASE, failed_only=False)
    assert queue.batches == [3, 7]
    assert done == Resumption(damaged=0, failed=0, missing=5, sent=2)


def test_resume_takes_up_a_cancelled_job(store: JobStore, worker: FakeWorker) -> None:
    job = array_job(store, images_of(range(10)))
    store.of(job).stop(Status.CANCELLED, "enough")
    resume(store.of(job), FakeQueue(serve=worker), lease_seconds=LEASE, failed_only=False)
    assert store.of(job).status(len(store.of(job).results.done())) == Status.COMPLETED


def test_resume_of_a_finished_job_does_nothing(store: JobStore, worker: FakeWorker) -> None:
    job = array_job(store, images_of(range(10)))
    work(store, job, worker)
    merge(store.of(job))
    queue = FakeQueue()
    done = resume(store.of(job), queue, lease_seconds=LEASE, failed_only=False)
    assert (done.missing, queue.sent) == (0, [])
    assert (store.path("job") / "predictions.parquet").exists()


def test_resume_has_damaged_results_computed_and_merged_again(
    store: JobStore, worker: FakeWorker
) -> None:
    job = array_job(store, images_of(range(10)))
    work(store, job, worker)
    merge(store.of(job))
    before = (store.path("job") / "predictions.parquet").read_bytes()
    store.of(job).results.path(1).write_bytes(b"torn")
    queue = FakeQueue()
    done = resume(store.of(job), queue, lease_seconds=LEASE, failed_only=False)
    assert (done.damaged, queue.batches) == (1, [1])
    assert not (store.path("job") / "predictions.parquet").exists()
    work(store, job, worker, 1)
    merge(store.of(job))
    assert (store.path("job") / "predictions.parquet").read_bytes() == before


def test_resume_changes_nothing_before_it_knows_that_messages_are_taken(
    store: JobStore, worker: FakeWorker
) -> None:
    job = array_job(store, images_of(range(12)), [0] * 12, batch_size=4)
    work(store, job, worker, 0, 1, 2)
    store.of(job).results.path(1).write_bytes(b"torn")
    store.of(job).stop(Status.FAILED, "It was so.")
    before = {path: path.stat().st_mtime_ns for path in store.path(job.id).rglob("*")}
    with pytest.raises(BrokerUnavailable):
        resume(store.of(job), FakeQueue(refusals=1), lease_seconds=LEASE, failed_only=True)
    assert {path: path.stat().st_mtime_ns for path in store.path(job.id).rglob("*")} == before


def test_resume_of_failed_images_computes_their_batches_anew_without_their_history(
    store: JobStore, worker: FakeWorker
) -> None:
    job = array_job(store, images_of(range(10)))
    for batch in range(job.batches):
        store.of(job).attempts.begin(batch).end("done")
    work(store, job, worker)
    assert merge(store.of(job)).failed == 1
    queue = FakeQueue(serve=FakeWorker(store))
    done = resume(store.of(job), queue, lease_seconds=LEASE, failed_only=True)
    assert (done.failed, queue.batches) == (1, [2])
    assert merge(store.of(job)).failed == 0
    histories = [len(read_events(store.of(job).attempts.path(batch))) for batch in range(3)]
    assert histories == [2, 2, 0]
    assert (store.path("job") / "errors.jsonl").read_text() == ""


def test_resume_without_a_broker_changes_nothing(store: JobStore, worker: FakeWorker) -> None:
    job = array_job(store, images_of(range(10)))
    work(store, job, worker)
    with pytest.raises(BrokerUnavailable):
        resume(store.of(job), FakeQueue(available=False), lease_seconds=LEASE, failed_only=True)
    assert len(store.of(job).results.done()) == 3


# Verifying


def faults_of(store: JobStore, models: ModelStore, job: Job) -> list[str]:
    return list(find_faults(store.of(job), models, max_bytes=1_000_000))


@pytest.fixture
def sound(store: JobStore, models: ModelStore, tmp_path: Path) -> Job:
    """A finished job over files, submitted as a user does."""
    return submitted(store, models, tmp_path)


def submitted(store: JobStore, models: ModelStore, folder: Path, *, array: str = "") -> Job:
    """A finished job of two batches with one failed image, over files or the array of that name."""
    models.promote(publish(models))
    source = folder / "source"
    source.mkdir()
    np.save(store.root / "a.npy", images_of(range(10)))
    np.savez(folder / "a.npz", images=images_of(range(10)), labels=[0, 1] * 5)
    for i in range(10):
        (source / f"{i}.png").write_bytes(encode(images_of([i])[0]))
    client = PredictionClient(
        storage=StorageSettings(storage=store.root),
        broker=BrokerSettings(),
        settings=ProducerSettings(),
        queue=FakeQueue(serve=FakeWorker(store, {3: "damaged image"})),
    )
    arrays = {"": source, "a.npz": folder / "a.npz", "a.npy": store.root / "a.npy"}
    handle = client.submit(str(arrays[array]), batch_size=6, job_id="job")
    handle.wait()
    return handle.job


@pytest.mark.parametrize("array", ["", "a.npz", "a.npy"])
def test_a_sound_job_has_no_faults(
    store: JobStore, models: ModelStore, tmp_path: Path, array: str
) -> None:
    job = submitted(store, models, tmp_path, array=array)
    assert faults_of(store, models, job) == []


def test_a_job_half_done_is_judged_by_what_there_is(
    store: JobStore, models: ModelStore, sound: Job
) -> None:
    store.of(sound).results.discard(1)
    (store.path("job") / "predictions.parquet").unlink()
    assert faults_of(store, models, sound) == []


def test_a_changed_model_file_is_a_fault(store: JobStore, models: ModelStore, sound: Job) -> None:
    (store.root / "models/digits/1/model.keras").write_bytes(b"another")
    assert faults_of(store, models, sound)[0].startswith("Model digits@1 is damaged")


def test_changed_or_missing_inputs_are_faults(
    store: JobStore, models: ModelStore, sound: Job
) -> None:
    pack = store.of(sound).inputs.pack_path(0)
    content = pack.read_bytes()
    png = encode(images_of([2])[0])
    at = content.index(png) + len(png) - 20
    pack.write_bytes(content[:at] + b"x" + content[at + 1 :])
    (fault,) = faults_of(store, models, sound)
    assert fault.startswith("Image 2.png of batch 0: packed file does not match its digest")
    pack.unlink()
    assert "inputs cannot be read" in faults_of(store, models, sound)[0]


def test_a_changed_array_is_a_fault(store: JobStore, models: ModelStore, tmp_path: Path) -> None:
    job = submitted(store, models, tmp_path, array="a.npz")
    path = store.path("job") / "inputs/images.npy"
    stat = path.stat()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert faults_of(store, models, job) == [
        "The images, labels or ids are not those that were submitted: their digest differs."
    ]
    path.write_bytes(content + b"x")
    assert "have changed since it was submitted" in faults_of(store, models, job)[0]


def test_damaged_missing_and_foreign_results_are_faults(
    store: JobStore, models: ModelStore, sound: Job
) -> None:
    store.of(sound).results.path(0).write_bytes(b"torn")
    store.of(sound).results.path(7).write_bytes(b"")
    first, second = faults_of(store, models, sound)
    assert first.endswith("`producer resume job` computes it again.")
    assert second.endswith("000007.npz is the result of no batch.")
    store.of(sound).results.path(7).unlink()
    store.of(sound).results.discard(0)
    assert faults_of(store, models, sound) == [
        "predictions.parquet is there, but 1 batch has no result."
    ]


@pytest.mark.parametrize(
    ("predictions", "scores", "errors", "fault"),
    [
        ([0, 1, 2, 3], [0.5] * 4, {}, "predicts a class beyond the 3 of the model"),
        ([0, 1, 2, -1], [0.5] * 4, {}, "has failed images without a reason"),
        ([0, 1, 2, 1], [0.5] * 4, {2: "x"}, "a reason without a failed image"),
        ([0, 1, 2, 1], [0.5, 0.5, 0.5, 7.0], {}, "has scores that are no probabilities"),
        ([0, 1, 2, 1], [0.5, 0.5, 0.5, np.nan], {}, "has scores that are no probabilities"),
    ],
)
def test_a_result_that_makes_no_sense_is_a_fault(
    store: JobStore,
    models: ModelStore,
    sound: Job,
    predictions: list[int],
    scores: list[float],
    errors: dict[int, str],
    fault: str,
) -> None:
    store.of(sound).results.discard(1)
    result = BatchResult(
        model=sound.model,
        ranking=ranking_of(np.array(predictions, np.int32), np.array(scores, np.float32)),
        errors=errors,
    )
    store.of(sound).results.write(1, result)
    assert fault in faults_of(store, models, sound)[0]


def test_merged_records_that_are_not_those_of_the_results_are_faults(
    store: JobStore, models: ModelStore, sound: Job
) -> None:
    store.of(sound).results.discard(0)
    store.of(sound).results.write(0, FakeWorker(store).result(sound, 0))
    faults = faults_of(store, models, sound)
    assert [fault.partition(" is ")[0].rpartition("/")[2] for fault in faults] == [
        "predictions.parquet",
        "errors.jsonl",
    ]
    (store.path("job") / "errors.jsonl").unlink()
    assert faults_of(store, models, sound)[1].endswith("errors.jsonl is missing.")


# Pruning


def aged(path: Path, days: float) -> None:
    moment = (datetime.now(UTC) - timedelta(days=days)).timestamp()
    for each in [path, *path.rglob("*")]:
        os.utime(each, (moment, moment))


def pruned(store: JobStore, days: float, *, dry_run: bool = False) -> list[str]:
    faults: list[str] = []
    entries = prune(store, timedelta(days=days), dry_run=dry_run, on_fault=faults.append)
    assert faults == []
    return [entry.name for entry in entries]


def test_only_jobs_that_ended_long_enough_ago_are_removed(
    store: JobStore, worker: FakeWorker
) -> None:
    images = images_of(range(10))
    for name in ("old", "new", "running"):
        job = array_job(store, images, id=name)
        work(store, job, worker, *([0] if name == "running" else []))
    aged(store.path("old"), 31)
    aged(store.path("running"), 31)
    assert pruned(store, 30, dry_run=True) == ["old"]
    assert store.ids() == ["new", "old", "running"]
    assert pruned(store, 30) == ["old"]
    assert store.ids() == ["new", "running"]
    assert pruned(store, 0) == ["new"]


def test_a_stopped_job_is_as_old_as_its_end(store: JobStore) -> None:
    job = array_job(store, images_of(range(10)))
    store.of(job).stop(Status.CANCELLED, "enough")
    aged(store.path("job"), 31)
    assert pruned(store, 30) == []
    later = datetime.now(UTC) + timedelta(days=31)
    entries = prune(store, timedelta(days=30), now=later, on_fault=print)
    assert [entry.name for entry in entries] == ["job"]


def test_drafts_that_were_left_behind_are_removed_and_those_being_written_are_not(
    store: JobStore,
) -> None:
    for name in (".new-left", ".new-busy"):
        (store.folder / name / "inputs").mkdir(parents=True)
        (store.folder / name / "inputs" / "000000.arrow").write_bytes(b"x" * 100)
        aged(store.folder / name, 3)
    (store.folder / ".new-busy" / "inputs" / "000001.arrow").write_bytes(b"x")
    entries = prune(store, timedelta(days=30), on_fault=print)
    assert [(entry.name, entry.bytes) for entry in entries] == [(".new-left", 100)]
    assert {path.name for path in store.folder.iterdir()} == {".new-busy"}


def test_drafts_that_were_left_in_a_job_that_has_ended_are_removed(
    store: JobStore, worker: FakeWorker
) -> None:
    for name in ("ended", "ended just now", "goes on"):
        job = array_job(store, images_of(range(8)), batch_size=4, id=name.replace(" ", "-"))
        work(store, job, worker, *([0] if name == "goes on" else []))
        draft = store.path(job.id) / ".new-errors.jsonl-0a1b2c3d"
        draft.write_bytes(b"x" * 100)
        aged(draft, 3)
        if name == "ended":
            aged(store.path(job.id), 3)
    fresh = store.path("ended") / ".new-errors.jsonl-4e5f6a7b"
    fresh.touch()
    entries = prune(store, timedelta(days=30), on_fault=print)
    assert [(entry.name, entry.bytes) for entry in entries] == [
        ("ended/.new-errors.jsonl-0a1b2c3d", 100)
    ]
    assert [path.parent.name for path in store.folder.glob("*/.new-*")] == [
        *("ended", "ended-just-now", "goes-on")
    ]


def test_predictions_for_reuse_go_with_their_age_and_with_their_model(
    store: JobStore, models: ModelStore
) -> None:
    version = publish(models)
    kept = ReuseStore(store.root)
    keys = np.arange(10, dtype=np.uint64).reshape(2, 5)
    known = Known(keys=keys, ranking=ranking_of(np.zeros(5, np.int32), np.ones(5, np.float32)))
    path = kept.add(version.pin, known)

    def pruned_reuse(days: float) -> list[str]:
        entries = prune_reuse(kept, models, timedelta(days=days), on_fault=faults.append)
        return [entry.name for entry in entries]

    faults: list[str] = []
    assert pruned_reuse(1) == []
    manifest = version.folder / "manifest.json"
    content = manifest.read_text()
    manifest.write_text("{")
    assert pruned_reuse(0) == []
    assert len(faults) == 1
    manifest.write_text(content)
    aged(path, 2)
    assert pruned_reuse(1) == [f".reuse/{path.parent.name}"]
    path = kept.add(version.pin, known)
    shutil.rmtree(version.folder.parent)
    assert pruned_reuse(1) == [f".reuse/{path.parent.name}"]
    assert kept.files(version.pin) == []


def test_a_job_that_cannot_be_read_is_kept_and_told(store: JobStore) -> None:
    array_job(store, images_of(range(10)))
    (store.path("job") / "job.json").write_text("{")
    faults: list[str] = []
    assert prune(store, timedelta(0), on_fault=faults.append) == []
    assert len(faults) == 1
    assert store.ids() == ["job"]
