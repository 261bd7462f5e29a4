"""The report of a job: what it tells, whatever the job, and that nothing in it can do harm."""

import base64
import hashlib
import re
import tracemalloc
from collections import Counter
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.baseline import Baseline
from evaluation.significance import wilson_interval
from imaging.errors import ImageError
from imaging.images import Shape
from imaging.preprocessing import Preprocessing
from producer.report.html import Markup, element, text
from producer.report.statistics.drift import PIXEL_SAMPLE
from producer.report.statistics.examples import EXAMPLES_OF_A_CLASS, Examples
from producer.report.statistics.failure_reasons import EXAMPLES_SHOWN, FailureReasons, kind_of
from producer.report.statistics.job_statistics import analyse
from producer.report.statistics.least_sure import LeastSure
from producer.report.statistics.mistakes import Mistakes
from producer.report.writing import write_report
from producer.results.finished_batches import FinishedBatch
from producer.results.merging import merge
from producer.results.records import ROW_GROUP_ROWS
from storage.jobs.batches import JobImages
from storage.jobs.corrections import add_corrections
from storage.jobs.inputs import UNLABELLED, ArrayInputs
from storage.jobs.job import Job, Status
from storage.jobs.labels import KnownLabels
from storage.jobs.store import JobStore
from storage.models.store import IMPORTED, ModelPin, ModelStore
from storage.settings import StorageSettings
from tests.builders import (
    SHAPE,
    array_job,
    describe_job,
    die_at,
    encode,
    file_job,
    image_file,
    images_of,
    publish,
)
from tests.fake_queue import FakeWorker

HOSTILE = "</code><script>alert('1')</script>\"'&<img src=x onerror=alert(2)>\0\x1b[2J"
SETTINGS = StorageSettings()


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "storage")


@pytest.fixture
def models(store: JobStore) -> ModelStore:
    return ModelStore(store.root)


class Page(HTMLParser):
    """What a browser would make of a document: elements with attributes, and the text between."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.sections: dict[str, str] = {}
        self.pictures: Counter[str] = Counter()
        """Images by section."""
        self._section = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "section":
            self._section = dict(attrs)["id"] or ""
        self.pictures[self._section] += tag == "img"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        self.sections[self._section] = f"{self.sections.get(self._section, '')}{data} "

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def work(store: JobStore, job: Job, worker: FakeWorker | None = None) -> None:
    worker = worker or FakeWorker(store)
    for batch in range(job.batches):
        store.of(job).results.write(batch, worker.result(job, batch))


def pinned(models: ModelStore, **fields: Any) -> ModelPin:
    return publish(models, **fields).pin


def report_of(store: JobStore, models: ModelStore, job: Job) -> Page:
    path = write_report(store.of(job), models, SETTINGS).path
    assert path == store.path(job.id) / "report.html"
    return Page(path.read_text("utf-8"))


def baseline_of(images: np.ndarray, classes: int = 3) -> Baseline:
    """A baseline over images that were predicted as `FakeWorker` does."""
    positions = np.arange(len(images))
    scores = 0.5 + (positions % 50) / 100
    probabilities = np.zeros((len(images), classes))
    probabilities[positions, positions % classes] = scores
    return Baseline.of(probabilities, images)


# The page


def test_a_labelled_job_is_told_in_all_sections(store: JobStore, models: ModelStore) -> None:
    images = np.random.default_rng(1).integers(0, 256, (40, *SHAPE), np.uint8)
    model = pinned(models, baseline=baseline_of(images))
    job = array_job(store, images, [0] * 20 + [UNLABELLED] * 20, model=model)
    for batch in range(job.batches):
        store.of(job).attempts.begin(batch).end("done", {"predict": 0.001})
    work(store, job, FakeWorker(store, {3: "damaged image"}))
    page = report_of(store, models, job)
    pictured = ["mistakes", "unsure", "examples", "errors"]
    shown = ["classes", "confusion", *pictured, "scores", "drift", "time", "origin"]
    assert [attributes["id"] for attributes in page.all("section")] == shown
    assert [a["href"] for a in page.all("a")] == [f"#{name}" for name in shown]
    head = page.sections[""]
    right = sum(i % 3 == 0 for i in range(20) if i != 3)
    low, high = wilson_interval(right, 19)
    assert f"{100 * right / 19:.2f}" in head
    assert f"95 % interval {100 * low:.2f} to {100 * high:.2f}" in head
    assert "digits@1" in head
    assert "data set  digits@1" in head
    pictures = [page.pictures[name] for name in pictured]
    assert pictures == [19 - right, 24, 3 * EXAMPLES_OF_A_CLASS, 1]
    assert len(page.all("img")) == sum(pictures)
    assert all(a["alt"] for a in page.all("img"))
    assert "predict" in page.sections["time"]
    assert "1 image has no prediction" in page.sections["errors"]


def test_the_same_job_gives_the_same_bytes(store: JobStore, models: ModelStore) -> None:
    images = np.random.default_rng(1).integers(0, 256, (40, *SHAPE), np.uint8)
    model = pinned(models, baseline=baseline_of(images))
    job = array_job(store, images, [0] * 40, model=model)
    work(store, job)
    first = write_report(store.of(job), models, SETTINGS).path.read_bytes()
    merge(store.of(job))
    assert write_report(store.of(job), models, SETTINGS).path.read_bytes() == first


def test_hostile_names_ids_and_reasons_are_only_text(store: JobStore, models: ModelStore) -> None:
    labels = (HOSTILE, "one", HOSTILE[::-1])
    model = pinned(models, labels=labels, dataset=HOSTILE, network=HOSTILE, versions={HOSTILE: "1"})
    content = encode(images_of([7])[0])
    files = [image_file(content, i, id=HOSTILE, path=HOSTILE, label=(i + 1) % 3) for i in range(10)]
    job = file_job(store, files, source=HOSTILE, labels=labels, model=model)
    work(store, job, FakeWorker(store, {5: HOSTILE}))
    store.of(job).stop(Status.FAILED, HOSTILE)
    page = report_of(store, models, job)
    for tag in ("script", "iframe", "object", "form", "base"):
        assert not page.all(tag)
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
    assert all((a["src"] or "").startswith("data:image/png;base64,") for a in page.all("img"))
    shown = HOSTILE.replace("\0", "�").replace("\x1b", "�")
    told = "".join(page.texts)
    assert min(told.count(shown[:9]), told.count(shown[-8:])) > 20
    assert {shown, shown[::-1]} <= {a.get("title") for a in page.all("bdi")}
    assert "\0" not in told


def test_a_browser_may_load_and_run_nothing(store: JobStore, models: ModelStore) -> None:
    job = array_job(store, images_of(range(10)), [0] * 10, model=pinned(models))
    work(store, job)
    document = write_report(store.of(job), models, SETTINGS).path.read_text("utf-8")
    page = Page(document)
    (policy,) = (a["content"] or "" for a in page.all("meta") if a.get("http-equiv"))
    (style,) = re.findall(r"<style>(.*?)</style>", document, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"style-src 'sha256-{digest}'" in policy
    assert not [a for _, a in page.elements if "style" in a]
    assert not re.search(r"https?:|url\(|@import", document)


def test_a_job_with_reuse_tells_how_much_was_taken_over(
    store: JobStore, models: ModelStore
) -> None:
    job = array_job(store, images_of(range(20)), model=pinned(models), reuse=True, id="reuse")
    assert "Reused" not in report_of(store, models, job).sections[""], "nothing is predicted yet"
    work(store, job, FakeWorker(store, {3: "damaged image"}, reused=3))
    told = report_of(store, models, job).sections[""]
    assert "Reused 78.95\N{NO-BREAK SPACE}% 15 predictions not computed again " in told
    plain = array_job(store, images_of(range(20)), model=pinned(models), id="plain")
    work(store, plain)
    assert "Reused" not in report_of(store, models, plain).sections[""]


def test_a_bar_is_as_long_as_its_share(store: JobStore, models: ModelStore) -> None:
    job = array_job(store, images_of(range(8)), model=pinned(models), batch_size=8)
    work(store, job)
    page = report_of(store, models, job)
    shares = [a["width"] for a in page.all("rect") if a["class"] == "right" and a["height"] == "10"]
    assert shares == ["45", "45", "30"], "of 120, for 3, 3 and 2 of 8"
    assert "37.50\N{NO-BREAK SPACE}%" in page.sections["classes"]


def test_a_job_with_some_labels_tells_how_often_each_class_was_predicted_in_all(
    store: JobStore, models: ModelStore
) -> None:
    job = array_job(store, images_of(range(9)), [0] * 4 + [UNLABELLED] * 5, model=pinned(models))
    work(store, job)
    told = report_of(store, models, job).sections["classes"]
    assert "Over 4 images with a label and a prediction." in told
    assert "How often each class was predicted, over 9 images." in told


def test_a_long_name_is_shortened_in_its_middle_and_whole_when_pointed_at(
    store: JobStore, models: ModelStore
) -> None:
    names = tuple(f"{kind}_a_name_that_nobody_would_want_to_read_{kind}" for kind in "abc")
    content = encode(images_of([7])[0])
    files = [image_file(content, i) for i in range(9)]
    job = file_job(store, files, labels=names, model=pinned(models, labels=names), batch_size=9)
    work(store, job)
    page = report_of(store, models, job)
    assert "a_a_name_that_nobody…ould_want_to_read_a " in page.sections["classes"]
    assert {a["title"] for a in page.all("bdi") if "title" in a} == set(names)


def test_labels_given_later_count_and_are_spoken_of(store: JobStore, models: ModelStore) -> None:
    job = array_job(store, images_of(range(10)), [0, 1, 2] * 3 + [1], model=pinned(models))
    work(store, job)
    page = report_of(store, models, job)
    assert "90.00" in page.sections[""]
    assert "given after the submission" not in page.sections[""]
    add_corrections(store.of(job), np.array([0, 9]), np.array([2, 0], np.int32))
    page = report_of(store, models, job)
    assert "90.00" in page.sections[""]
    assert "2 given after the submission" in page.sections[""]
    assert page.pictures["mistakes"] == 1
    assert page.all("img")[0]["alt"] == "Image 0"
    assert "actual  two" in page.sections["mistakes"]


def test_a_figure_over_images_that_people_chose_says_so(
    store: JobStore, models: ModelStore
) -> None:
    job = array_job(store, images_of(range(100)), model=pinned(models))
    work(store, job)
    positions = np.arange(25)
    add_corrections(store.of(job), positions, ((positions + (positions < 9)) % 3).astype(np.int32))
    page = report_of(store, models, job)
    head = page.sections[""]
    assert (
        "Accuracy of 25 64.00\N{NO-BREAK SPACE}% of the 25 labelled, which are no sample of the "
        "other 75 " in head
    )
    assert "interval" not in head
    assert "They are no sample of the others." in page.sections["classes"]
    assert "predicted, over 100 images." in page.sections["classes"]
    assert page.sections["scores"].startswith("Scores Over the 25 labelled images, no sample of")


def test_a_job_over_a_data_set_names_its_version(store: JobStore, models: ModelStore) -> None:
    inputs = ArrayInputs(images="datasets/digits/2/test_images.npy", size=1, mtime_ns=1)
    job = describe_job(source="digits:test", inputs=inputs, model=pinned(models))
    with store.draft() as draft:
        store.commit(draft, job)
    assert "digits:test , data set  digits@2 " in report_of(store, models, job).sections[""]


def test_what_was_assumed_of_the_images_is_told(store: JobStore, models: ModelStore) -> None:
    long = f"Passed over: {', '.join(f'{i} .ext{i}' for i in range(1, 20))}; --follow-links takes."
    job = describe_job(model=pinned(models), notes=("Passed over: 3 .tif <files>.", long))
    with store.draft() as draft:
        store.commit(draft, job)
    facts = report_of(store, models, job).sections[""]
    assert "Note Passed over: 3 .tif <files>. " in facts
    assert f"Note {long} " in facts


def test_a_job_without_labels_tells_classes_scores_and_drift(
    store: JobStore, models: ModelStore
) -> None:
    images = np.random.default_rng(1).integers(0, 256, (40, *SHAPE), np.uint8)
    job = array_job(store, images, model=pinned(models, baseline=baseline_of(images)))
    work(store, job)
    page = report_of(store, models, job)
    told = [attributes["id"] for attributes in page.all("section")]
    assert told == ["classes", "unsure", "examples", "scores", "drift", "origin"]
    assert "unknown" in page.sections[""]
    assert "14" in page.sections["classes"].split()
    assert "without a label: 40 images" in page.sections["scores"]


def test_a_job_that_nobody_has_begun_has_a_short_report(
    store: JobStore, models: ModelStore
) -> None:
    job = array_job(store, images_of(range(10)), [0] * 10, model=pinned(models))
    page = report_of(store, models, job)
    assert "The job goes on. " in page.sections[""]
    assert "0 of 10 images are done" in page.sections[""]
    assert set(page.sections) == {"", "drift", "origin"}


def test_a_cancelled_job_is_reported_as_far_as_it_went(store: JobStore, models: ModelStore) -> None:
    job = array_job(store, images_of(range(10)), [0] * 10, model=pinned(models))
    store.of(job).results.write(1, FakeWorker(store).result(job, 1))
    store.of(job).stop(Status.CANCELLED, "enough")
    page = report_of(store, models, job)
    assert "The job was cancelled. " in page.sections[""]
    assert "4 of 10 images are done" in page.sections[""]
    assert "Over 4 images" in page.sections["classes"]


def test_a_job_whose_images_all_failed(store: JobStore, models: ModelStore) -> None:
    images = images_of(range(10))
    model = pinned(models, baseline=baseline_of(images))
    job = array_job(store, images, [0] * 10, model=model)
    work(store, job, FakeWorker(store, dict.fromkeys(range(10), "bad")))
    page = report_of(store, models, job)
    assert "Many images failed. " in page.sections[""]
    assert set(page.sections) == {"", "errors", "origin"}


def test_a_model_without_a_baseline_and_one_that_has_gone(
    store: JobStore, models: ModelStore
) -> None:
    job = array_job(store, images_of(range(10)), [0] * 10, model=pinned(models))
    work(store, job)
    assert "Model digits@1 has no baseline" in report_of(store, models, job).sections["drift"]
    (models.folder / "digits" / "1" / "manifest.json").unlink()
    page = report_of(store, models, job)
    assert "Model digits@1 is no longer there" in page.sections["drift"]
    assert not page.all("img")
    assert "actual  zero" in page.sections["mistakes"]


def test_of_a_model_that_was_trained_elsewhere_little_is_told(
    store: JobStore, models: ModelStore
) -> None:
    unknown = dict.fromkeys(("preset", "dataset", "dataset_sha256", "seed", "epochs", "batch_size"))
    model = pinned(models, network=IMPORTED, metrics={}, versions={}, **unknown)
    job = array_job(store, images_of(range(10)), [0] * 10, model=model)
    work(store, job)
    page = report_of(store, models, job)
    assert "network imported, never tested" in page.sections[""]
    assert "None" not in "".join(page.texts)


def test_a_job_unlike_the_test_is_warned_of(store: JobStore, models: ModelStore) -> None:
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (900, *SHAPE), np.uint8)
    model = pinned(models, baseline=baseline_of(images), metrics={"accuracy": 0.75})
    right = random.random(900) < 0.5 + (np.arange(900) % 50) / 100  # as `FakeWorker` is sure of it
    labels = ((np.arange(900) + ~right) % 3).tolist()
    like = array_job(store, images[::-1], labels, model=model, batch_size=300, id="like")
    work(store, like)
    assert "No warnings." in report_of(store, models, like).sections[""]
    dark = array_job(store, images // 4, labels, model=model, batch_size=300, id="dark")
    work(store, dark)
    head = report_of(store, models, dark).sections[""]
    assert "The images differ from those the model was tested with." in head
    assert "brightness" in head
    assert "scores" not in head.partition("Distances")[2].partition("Classes")[0]


def test_an_accuracy_far_below_the_test_is_warned_of(store: JobStore, models: ModelStore) -> None:
    job = array_job(store, images_of([1] * 90), [0] * 90, model=pinned(models))
    work(store, job)
    assert (
        "The accuracy is below that of the model's test."
        in (report_of(store, models, job).sections[""])
    )


def test_an_imported_model_was_tested_and_not_trained_on_its_data_set(
    store: JobStore, models: ModelStore
) -> None:
    job = array_job(
        store, images_of(range(10)), model=pinned(models, network=IMPORTED, epochs=None)
    )
    page = report_of(store, models, job)
    assert "Tested on data set  digits@1" in page.sections[""]
    assert "Tested on data set  digits@1" in page.sections["origin"]
    assert "Trained on" not in "".join(page.texts)


def test_moments_are_told_in_utc_wherever_they_were_written(
    store: JobStore, models: ModelStore
) -> None:
    there = timezone(timedelta(hours=8))
    made = datetime(2026, 3, 1, 1, 30, tzinfo=there)
    job = array_job(store, images_of(range(10)), model=pinned(models, created_at=made))
    told = report_of(store, models, job).sections["origin"]
    assert "2026-02-28 17:30:00 UTC" in told


def test_of_a_thousand_classes_the_worst_are_listed(store: JobStore, models: ModelStore) -> None:
    names = tuple(f"class {i}" for i in range(1000))
    content = encode(images_of([7])[0])
    files = [image_file(content, i, label=(i if i % 7 else i + 1) % 1000) for i in range(3000)]
    model = pinned(models, labels=names)
    job = file_job(store, files, labels=names, batch_size=1000, model=model)
    work(store, job)
    page = report_of(store, models, job)
    assert "Shown are the 40 with the lowest F1" in page.sections["classes"]
    assert len(re.findall(r"class \d+", page.sections["confusion"])) == 2 * 30
    assert "All 1,000 classes by name" in page.sections["classes"]
    assert all(page.sections["classes"].count(f" {name} ") >= 1 for name in names)
    assert 1000 < len(page.all("tr")) < 1150
    assert store.path(job.id).joinpath("report.html").stat().st_size < 500_000


def test_of_a_thousand_classes_without_labels_all_are_listed_too(
    store: JobStore, models: ModelStore
) -> None:
    names = tuple(f"class {i}" for i in range(1000))
    content = encode(images_of([7])[0])
    model = pinned(models, labels=names)
    files = [image_file(content, i) for i in range(50)]
    job = file_job(store, files, labels=names, batch_size=50, model=model)
    work(store, job)
    page = report_of(store, models, job)
    told = page.sections["classes"]
    assert "commonest of 1,000 classes" in told
    assert "Some images of the 20 commonest of 50 predicted classes" in page.sections["examples"]
    assert page.pictures["examples"] == 20
    assert all(f" {name} " in told for name in names)


def test_large_colour_images_do_not_make_a_large_file(store: JobStore, models: ModelStore) -> None:
    shape: Shape = (180, 260, 3)
    images = np.random.default_rng(1).integers(0, 256, (60, *shape), np.uint8)
    model = pinned(models, input_shape=shape, baseline=baseline_of(images))
    job = array_job(store, images, [0] * 60, model=model)
    work(store, job)
    page = report_of(store, models, job)
    assert page.pictures["mistakes"] == 24
    assert len(page.all("img")) == 24 + 24 + 3 * EXAMPLES_OF_A_CLASS
    assert "red less blue" in page.sections["drift"]
    assert (store.path(job.id) / "report.html").stat().st_size < 1_500_000


def test_thousands_of_photographs_of_many_classes_make_no_large_file(
    store: JobStore, models: ModelStore
) -> None:
    shape: Shape = (96, 96, 3)
    names = tuple(f"class {i}" for i in range(1000))
    noise = np.random.default_rng(1).integers(0, 256, (100, 24, 24, 3), np.uint8)
    contents = [encode(pixels, "JPEG") for pixels in noise.repeat(4, axis=1).repeat(4, axis=2)]
    model = pinned(models, labels=names, input_shape=shape)
    files = [image_file(contents[i % 100], i, label=i % 7) for i in range(3000)]
    job = file_job(store, files, labels=names, model=model, batch_size=1000)
    work(store, job, FakeWorker(store, {i: f"{'x' * i} too bad" for i in range(100)}))
    page = report_of(store, models, job)
    assert 24 + 24 + 20 * 3 < len(page.all("img")) < 200
    assert (store.path(job.id) / "report.html").stat().st_size < 2_000_000


def test_where_all_images_have_gone_none_is_promised(store: JobStore, models: ModelStore) -> None:
    job = array_job(store, images_of(range(10)), [0] * 10, model=pinned(models))
    work(store, job)
    (store.root / "images.npy").unlink()
    page = report_of(store, models, job)
    assert not page.all("img")
    assert "examples" not in page.sections
    told = "whose pictures cannot be had any more."
    assert told in page.sections["mistakes"] and told in page.sections["unsure"]


def test_what_can_be_seen_of_failed_images_is_shown(store: JobStore, models: ModelStore) -> None:
    shape: Shape = (40, 40, 3)
    noise = np.random.default_rng(1).integers(0, 256, (6, *shape), np.uint8)
    whole = [encode(pixels, "JPEG") for pixels in noise]
    contents = [*whole[:3], whole[3][: len(whole[3]) // 2], b"coffee", whole[5]]
    files = [image_file(content, i) for i, content in enumerate(contents)]
    job = file_job(store, files, batch_size=5, model=pinned(models, input_shape=shape))
    reasons = {2: "no probabilities", 3: "damaged image", 4: "not an image", 5: "kills the worker"}
    work(store, job, FakeWorker(store, reasons))
    page = report_of(store, models, job)
    failed = {a["alt"] for a in page.all("img")[-page.pictures["errors"] :]}
    assert failed == {"Image image-2", "Image image-3", "Image image-5"}
    assert "image-4" in page.sections["errors"]
    for _ in range(3):
        die_at(store.of(job).attempts.path(1), 0)
    page = report_of(store, models, job)
    assert page.pictures["errors"] == 2, "what may have killed a worker is left alone"
    assert "image-5" in page.sections["errors"]


# What it is made of


def test_the_least_sure_come_first_whether_right_or_wrong(store: JobStore) -> None:
    job = array_job(store, images_of(range(120)), batch_size=40)
    work(store, job, FakeWorker(store, {50: "damaged image"}))
    shown = analyse(store.of(job), None, SETTINGS).least_sure
    assert len(shown) == 24
    assert [image.position for image in shown[:5]] == [0, 100, 1, 51, 101]
    assert [image.score for image in shown[:2]] == [0.5, 0.5]
    assert shown[0].actual == UNLABELLED
    of_one_batch = LeastSure()
    of_one_batch.add(FinishedBatch(store.of(job), 2, KnownLabels(store.of(job))))
    assert [image.position for image in of_one_batch.images[:2]] == [100, 101]


def test_examples_come_from_all_over_a_job_in_its_order(store: JobStore) -> None:
    job = array_job(store, images_of([i % 256 for i in range(3000)]), batch_size=500)
    work(store, job, FakeWorker(store, dict.fromkeys(range(0, 3000, 6), "damaged image")))
    examples = analyse(store.of(job), None, SETTINGS).examples
    for predicted in range(3):
        found = examples.of(predicted)
        positions = [position for position, _ in found]
        assert len(found) == EXAMPLES_OF_A_CLASS
        assert positions == sorted(positions)
        assert all(position % 3 == predicted and position % 6 for position in positions)
        assert max(np.diff([0, *positions, 3000])) < 1500
        assert [image for _, image in found] == [str(position) for position in positions]
    at_once = Examples()
    for batch in range(6):
        at_once.add(FinishedBatch(store.of(job), batch, KnownLabels(store.of(job))))
    assert at_once.of(1) == examples.of(1)
    assert at_once.of(3) == []


def test_the_most_confident_mistakes_come_first_and_only_labelled_ones_count(
    store: JobStore,
) -> None:
    labels = [(i + 1) % 3 for i in range(20)]  # all wrong
    labels[9], labels[8], labels[19] = UNLABELLED, 8 % 3, 0
    job = array_job(store, images_of(range(20)), labels)
    work(store, job, FakeWorker(store, {18: "damaged image"}))
    mistakes = analyse(store.of(job), None, SETTINGS).mistakes[:4]
    assert [mistake.position for mistake in mistakes] == [19, 17, 16, 15]
    assert [mistake.predicted for mistake in mistakes] == [1, 2, 1, 0]
    assert [mistake.actual for mistake in mistakes] == [0, 0, 2, 1]


def test_equally_confident_mistakes_come_in_the_order_of_the_job(store: JobStore) -> None:
    job = array_job(store, images_of(range(120)), [(i + 1) % 3 for i in range(120)], batch_size=40)
    work(store, job, FakeWorker(store))
    mistakes = analyse(store.of(job), None, SETTINGS).mistakes
    assert [mistake.position for mistake in mistakes[:3]] == [49, 99, 48]
    of_one_batch = Mistakes()
    of_one_batch.add(FinishedBatch(store.of(job), 0, KnownLabels(store.of(job))))
    assert len(of_one_batch.surest) == 24


@pytest.mark.parametrize(
    "alike",
    [
        ("too many pixels: 10 x 20, the limit is 50", "too many pixels: 7 x 9, the limit is 8"),
        ("damaged image: truncated (3 bytes)", "damaged image: truncated (44 bytes)"),
        ("The path '../a' leads out of /x/y", "The path '../b/c' leads out of /z"),
        ("no uint8 pixels: float32 (4, 4)", "no uint8 pixels: float32 (5, 9)"),
        ("its values are of 32 bits", "its values are of 12 bits"),
        ("a tile of 16x16, -3 from 0x1f", "a tile of 8x128, -12 from 0xa0"),
        ("took 5MB, 1,234.5ms", "took 17MB, 2ms"),
    ],
)  # fmt: skip
def test_reasons_that_differ_in_numbers_and_paths_are_one_kind(alike: tuple[str, str]) -> None:
    first, second = map(kind_of, alike)
    assert first == second
    assert kind_of("image of 3 frames") != kind_of("image of 3 colours")
    assert kind_of("values of int8") != kind_of("values of int16")


def test_a_reason_that_is_always_the_same_is_shown_as_it_is() -> None:
    reasons = FailureReasons()
    for i in range(3):
        reasons.add(f"a{i}", "values of 32 bits: convert it to 8 or 16 bits", i)
        reasons.add(f"b{i}", f"too large: {i} bytes", i)
    assert [reason.text for reason in reasons] == [
        "too large: N bytes",
        "values of 32 bits: convert it to 8 or 16 bits",
    ]


def test_reasons_are_counted_the_commonest_first_and_never_too_many() -> None:
    reasons = FailureReasons()
    for i in range(1000):
        reasons.add(f"a{i}", f"file too large: the limit is {i} bytes", i)
        reasons.add(f"b{i}", "x" * (i + 1), i)
    first, *others = reasons
    assert (first.text, first.count) == ("file too large: the limit is N bytes", 1000)
    assert first.examples[1] == ("a1", "file too large: the limit is 1 bytes", 1)
    assert len(first.examples) == EXAMPLES_SHOWN
    assert len(others) <= 200
    assert sum(reason.count for reason in others) == 1000


def test_a_picture_is_what_the_model_saw(store: JobStore) -> None:
    shown, gone = images_of([7, 8])
    files = [
        image_file(encode(shown), 0, label=0),
        image_file(encode(gone), 1, content=None, stored="gone.png"),
    ]
    job = file_job(store, files, batch_size=2)
    pictures = JobImages(store.of(job), SHAPE, Preprocessing(), SETTINGS)
    np.testing.assert_array_equal(pictures.read(0), shown)
    with pytest.raises(ImageError, match="cannot be read"):
        pictures.read(1)
    assert len(pictures.read_some([0, 1])) == 1


def test_pixels_of_failed_and_lost_images_are_not_compared(
    store: JobStore, models: ModelStore
) -> None:
    images = images_of(range(10))
    manifest = publish(models, baseline=baseline_of(images)).manifest
    files = [image_file(encode(image), i) for i, image in enumerate(images)]
    files[4] = image_file(encode(images[4]), 4, content=None, stored="gone.png")
    job = file_job(store, files)
    work(store, job, FakeWorker(store, {2: "deadly"}))
    drift = analyse(store.of(job), manifest, SETTINGS).drift
    assert drift is not None
    assert {c.feature: c.images for c in drift}["brightness"] == 8
    assert {c.feature: c.images for c in drift}["scores"] == 9


def test_memory_does_not_grow_with_the_job(store: JobStore, models: ModelStore) -> None:
    images = images_of([i % 256 for i in range(2 * ROW_GROUP_ROWS)])
    manifest = publish(models, baseline=baseline_of(images[:500])).manifest

    def peak(count: int, *, merged: bool) -> int:
        labels = [0] * count
        job = array_job(store, images[:count], labels, id=f"of-{count}-{merged}", batch_size=500)
        work(store, job)
        if merged:
            merge(store.of(job))
        tracemalloc.start()
        statistics = analyse(store.of(job), manifest, SETTINGS)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert statistics.tally.predicted == count
        return used

    peak(PIXEL_SAMPLE, merged=False)  # whatever is imported at the first time
    assert peak(20_000, merged=True) < 2 * peak(PIXEL_SAMPLE, merged=True)
    assert peak(2 * ROW_GROUP_ROWS, merged=False) < 1.5 * peak(ROW_GROUP_ROWS, merged=False)


def test_markup_escapes_whatever_is_not_markup() -> None:
    assert element("p", "<b>", Markup("<i>x</i>"), title='"&') == (
        '<p title="&quot;&amp;">&lt;b&gt;<i>x</i></p>'
    )
    assert element("rect", x=1.0, y=2.345, class_=None) == '<rect x="1" y="2.35"></rect>'
    assert text("a\0\ud800b").encode() == "a��b".encode()
