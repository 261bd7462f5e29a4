"""The line: a source goes in, a worker classifies it, predictions come out."""

import csv
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from storage.jobs.attempts import read_events
from storage.jobs.store import JobStore
from storage.models.runtime_choice import Runtime
from storage.models.store import ModelStore
from tests.digits import TEST_IMAGES, digits
from tests.processes import Program, RedisServer, run, wait_for

pytestmark = pytest.mark.usefixtures("running_worker")

RUNTIMES: tuple[Runtime, ...] = ("onnx", "tensorflow")


@pytest.fixture(scope="module")
def expected(system: Mapping[str, str]) -> np.ndarray:
    """What Keras' own `model.predict` says of the test images."""
    import keras

    version = ModelStore(Path(system["BATCHSIGHT_STORAGE"])).resolve("digits")
    model = keras.saving.load_model(version.on("tensorflow").model_path)
    images, _ = digits()
    return np.asarray(model.predict(images[:TEST_IMAGES, ..., None], verbose=0).argmax(axis=-1))


def predictions(
    system: Mapping[str, str], *source: str
) -> tuple[dict[str, object], list[dict[str, Any]]]:
    """Submit, wait, and return the summary and the records."""
    done = run(system, "producer", "submit", *source, "--json")
    summary = json.loads(done.stdout)
    folder = JobStore(Path(system["BATCHSIGHT_STORAGE"])).path(summary["id"])
    return summary, pq.read_table(folder / "predictions.parquet").to_pylist()


def test_a_folder_gives_the_predictions_of_keras(
    system: Mapping[str, str], digits_folder: Path, expected: np.ndarray
) -> None:
    summary, records = predictions(system, str(digits_folder / "test"), "--model", "digits")
    assert summary["images"] == {"total": TEST_IMAGES, "predicted": TEST_IMAGES, "failed": 0}
    assert summary["labelled"] == TEST_IMAGES
    by_number = {int(Path(r["path"]).stem): r["prediction"] for r in records}
    assert [by_number[i] for i in range(TEST_IMAGES)] == [str(p) for p in expected]


def test_an_array_gives_the_predictions_of_keras(
    system: Mapping[str, str], tmp_path: Path, expected: np.ndarray
) -> None:
    np.save(tmp_path / "images.npy", digits()[0][:TEST_IMAGES])
    summary, records = predictions(system, str(tmp_path / "images.npy"), "--model", "digits")
    assert summary["labelled"] == 0
    assert summary["accuracy"] is None
    assert [r["prediction"] for r in records] == [str(p) for p in expected]


def test_both_runtimes_say_the_same_and_reuse_only_their_own_predictions(
    system: Mapping[str, str], tmp_path: Path
) -> None:
    storage, source = Path(system["BATCHSIGHT_STORAGE"]), tmp_path / "images.npy"
    np.save(source, digits()[0][:100, :, ::-1])  # which no other test has classified
    said = {}
    for runtime in RUNTIMES:
        told = {**system, "BATCHSIGHT_RUNTIME": runtime}
        options = (str(source), "--model", "digits", "--reuse")
        summary, records = predictions(told, *options)
        said[runtime] = [record["prediction"] for record in records]
        assert summary["reused"] == 0
        stored = JobStore(storage).open(str(summary["id"]))
        pin = ModelStore(storage).resolve("digits").on(runtime).pin
        assert stored.job.model == stored.results.read(0).model == pin
        summary, again = predictions(told, *options)
        assert (summary["reused"], again) == (100, records)
    assert said["onnx"] == said["tensorflow"]


def test_a_manifest_gives_the_predictions_of_keras_and_the_accuracy_of_its_labels(
    system: Mapping[str, str], digits_folder: Path, expected: np.ndarray
) -> None:
    labels = digits()[1]
    manifest = digits_folder / "images.csv"
    with manifest.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "path", "label"])
        for i in range(TEST_IMAGES):
            path = Path("test", str(labels[i]), f"{i:04d}.png")
            rows.writerow([f"digit-{i}", path, labels[i] if i % 2 else ""])
    summary, records = predictions(system, str(manifest), "--model", "digits")
    assert [r["id"] for r in records] == [f"digit-{i}" for i in range(TEST_IMAGES)]
    assert [r["prediction"] for r in records] == [str(p) for p in expected]
    odd = slice(1, None, 2)
    assert summary["labelled"] == TEST_IMAGES // 2
    assert summary["accuracy"] == pytest.approx((expected == labels[:TEST_IMAGES])[odd].mean())


def test_a_data_set_split_gives_the_accuracy_of_the_manifest(system: Mapping[str, str]) -> None:
    summary, _ = predictions(system, "digits:test")
    version = ModelStore(Path(system["BATCHSIGHT_STORAGE"])).resolve("digits")
    assert summary["model"] == "digits@1"
    assert summary["accuracy"] == pytest.approx(version.manifest.accuracy)


def test_bad_images_become_records_and_the_others_are_classified(
    system: Mapping[str, str], tmp_path: Path, digits_folder: Path, expected: np.ndarray
) -> None:
    labels = digits()[1]
    for i in range(20):
        content = (digits_folder / "test" / str(labels[i]) / f"{i:04d}.png").read_bytes()
        (tmp_path / f"{i:04d}.png").write_bytes(content)
    (tmp_path / "0003.png").write_bytes((tmp_path / "0003.png").read_bytes()[:60])
    (tmp_path / "0007.png").write_text("no image at all")

    done = run(
        system, "producer", "submit", str(tmp_path), "--model", "digits", "--json", check=False
    )

    assert done.returncode == 3
    summary = json.loads(done.stdout)
    assert summary["status"] == "completed"
    assert summary["images"] == {"total": 20, "predicted": 18, "failed": 2}
    folder = JobStore(Path(system["BATCHSIGHT_STORAGE"])).path(summary["id"])
    records = pq.read_table(folder / "predictions.parquet").to_pylist()
    wanted = [None if i in (3, 7) else str(expected[i]) for i in range(20)]
    assert [r["prediction"] for r in records] == wanted
    errors = [json.loads(line) for line in (folder / "errors.jsonl").read_text().splitlines()]
    assert "damaged image" in errors[0]["reason"]
    assert "not an image" in errors[1]["reason"]


def test_a_second_submission_under_the_same_id_changes_nothing(
    system: Mapping[str, str], running_worker: Program
) -> None:
    first = run(system, "producer", "submit", "digits:test", "--job-id", "twice", "--json")
    ran = running_worker.log.count("twice.")
    second = run(system, "producer", "submit", "digits:test", "--job-id", "twice", "--json")
    assert json.loads(first.stdout) == json.loads(second.stdout)
    assert running_worker.log.count("twice.") == ran

    other = run(system, "producer", "submit", "digits:train", "--job-id", "twice", check=False)
    assert other.returncode == 1
    assert "choose another --job-id" in other.stderr


def test_with_reuse_only_new_images_are_computed(
    system: Mapping[str, str], tmp_path: Path, expected: np.ndarray
) -> None:
    images = digits()[0][:TEST_IMAGES].copy()
    different = len(np.unique(images.reshape(TEST_IMAGES, -1), axis=0))
    path = tmp_path / "images.npy"

    def reuse() -> tuple[dict[str, object], list[str]]:
        np.save(path, images)
        # One batch after the other: two at once might both compute what they share.
        options = ("--model", "digits", "--reuse", "--max-in-flight", "1")
        summary, records = predictions(system, str(path), *options)
        return summary, [record["prediction"] for record in records]

    first, found = reuse()
    assert first["reused"] == TEST_IMAGES - different
    assert found == [str(p) for p in expected]

    again, found = reuse()
    assert (again["reused"], again["hit_rate"]) == (TEST_IMAGES, 1.0)
    assert found == [str(p) for p in expected]

    new = slice(7, None, 100)
    images[new] = 255 - images[new]
    changed, found = reuse()
    assert changed["reused"] == TEST_IMAGES - len(images[new])
    plain, records = predictions(system, str(path), "--model", "digits")
    assert "reused" not in plain
    assert found == [record["prediction"] for record in records]
    assert run(system, "producer", "verify", str(changed["id"])).stdout == ""


def test_a_job_is_followed_from_another_shell(system: Mapping[str, str]) -> None:
    submitted = run(system, "producer", "submit", "digits:test", "--no-wait", "--json")
    job = json.loads(submitted.stdout)["id"]
    followed = run(system, "producer", "status", job, "--follow", "--json")
    assert json.loads(followed.stdout)["status"] == "completed"
    results = run(system, "producer", "results", job)
    assert len(results.stdout.splitlines()) == TEST_IMAGES + 1


def test_small_colour_images_of_three_classes_go_all_the_way(
    system: Mapping[str, str], tmp_path: Path
) -> None:
    random = np.random.default_rng(1)
    classes = ("red", "green", "blue")
    for split, count in (("train", 90), ("test", 30)):
        for i in range(count):
            pixels = random.integers(0, 160, (24, 40, 3))
            pixels[..., i % 3] += 90
            path = tmp_path / "colours" / split / classes[i % 3] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)

    run(system, "trainer", "data", "add", "colours", f"folder:{tmp_path / 'colours'}")
    options = ("--network", "resnet", "--epochs", "8", "--batch-size", "16", "--json")
    trained = json.loads(run(system, "trainer", "train", "--dataset", "colours", *options).stdout)
    manifest = ModelStore(Path(system["BATCHSIGHT_STORAGE"])).resolve("colours@1").manifest
    assert (manifest.input_shape, sorted(manifest.labels)) == ((24, 40, 3), sorted(classes))
    assert (manifest.preset, manifest.augment) == ("default", True)
    assert (manifest.accuracy or 0) > 0.9

    for source in (str(tmp_path / "colours" / "test"), "colours:test"):
        summary, records = predictions(system, source, "--model", "colours@1")
        assert summary["accuracy"] == pytest.approx(trained["accuracy"])
        assert {record["label"] for record in records} == set(classes)
        report = run(system, "producer", "report", str(summary["id"]))
        assert all(name in report.stdout + report.stderr for name in classes)
        folder = JobStore(Path(system["BATCHSIGHT_STORAGE"])).path(str(summary["id"]))
        page = (folder / "report.html").read_text("utf-8")
        assert all(name in page for name in classes)


def test_a_job_that_nobody_follows_is_passed_on_from_batch_to_batch(
    system: Mapping[str, str], running_worker: Program
) -> None:
    options = ("--batch-size", "30", "--max-in-flight", "1", "--job-id", "alone", "--no-wait")
    run(system, "producer", "submit", "digits:test", *options)
    jobs = JobStore(Path(system["BATCHSIGHT_STORAGE"]))
    job = jobs.get("alone")
    assert job.batches > 10
    wait_for(lambda: len(jobs.of(job).results.done()) == job.batches, "all batches are done", 30)


def test_messages_that_make_no_sense_are_dropped_and_the_worker_goes_on(
    system: Mapping[str, str], running_worker: Program
) -> None:
    from messaging.app import make_app
    from messaging.settings import BrokerSettings

    app = make_app("stranger", settings=BrokerSettings(redis_url=system["BATCHSIGHT_REDIS_URL"]))
    for fields in (
        {},
        {"job": "../../etc", "batch": 0},
        {"job": "twice", "batch": -1},
        {"job": "twice", "batch": 10**6},
        {"job": "no-such-job", "batch": 0},
        {"job": "twice", "batch": 0, "pickle": "gASV"},
    ):
        app.send_task("worker.predict", kwargs=fields, queue="predict", task_id=f"bad-{id(fields)}")
    app.send_task("worker.predict", args=[1, 2], queue="predict")
    app.send_task("os.system", args=["true"], queue="predict")
    summary, _ = predictions(system, "digits:test")
    assert summary["status"] == "completed"
    assert running_worker.log.count("dropped") >= 7


def test_bytes_that_are_no_message_are_dropped_and_the_worker_goes_on(
    system: Mapping[str, str], redis_server: RedisServer, running_worker: Program
) -> None:
    envelope = {"content-type": "application/json", "content-encoding": "utf-8"}
    properties = {"delivery_tag": "x", "delivery_info": {}, "body_encoding": "base64"}
    strange: list[Any] = [
        7,
        None,
        [],
        {"a": 1},
        {"body": "x", "headers": {}, "properties": {}},
        {"body": "!!", "headers": [1], "properties": properties, **envelope},
        {"body": "/////w==", "headers": {"task": "worker.predict"}, "properties": properties},
    ]
    client = redis_server.client()
    client.lpush("predict", "garbage", *(json.dumps(item) for item in strange))
    summary, _ = predictions(system, "digits:test")
    assert summary["status"] == "completed"
    assert running_worker.log.count("A malformed message was dropped") >= 6
    assert running_worker.running


def test_the_phases_of_a_job_add_up_to_its_wall_time(
    system: Mapping[str, str], tmp_path: Path
) -> None:
    images, _ = digits()
    np.save(tmp_path / "many.npy", np.tile(images, (280, 1, 1)))
    options = ("--model", "digits", "--job-id", "phases", "--json")
    run(system, "producer", "submit", str(tmp_path / "many.npy"), *options)
    done = run(system, "producer", "report", "phases", "--json")
    timeline = json.loads(done.stdout)["timeline"]
    phases = {phase["name"]: phase["seconds"] for phase in timeline["phases"]}
    assert sum(phases.values()) == pytest.approx(timeline["wall_seconds"], rel=0.05)
    named = {"submit", "queue", "open", "read", "predict", "write", "count", "merge"}
    assert named <= set(phases)

    # Nor is a large remainder what makes them do so. Of most batches: what else runs on this
    # machine may take any moment of one.
    jobs = JobStore(Path(system["BATCHSIGHT_STORAGE"]))
    job = jobs.get("phases")
    ends = [read_events(jobs.of(job).attempts.path(batch))[-1] for batch in range(job.batches)]
    named_shares = [sum(end["phases"].values()) / end["seconds"] for end in ends]
    assert statistics.median(named_shares) > 0.95
