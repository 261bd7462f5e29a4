import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.ranking import FAILED, Ranking
from imaging.images import Pixels
from messaging.messages import PredictBatch
from storage.errors import ConflictingResult
from storage.jobs.job import Job, Status
from storage.jobs.result_store import ResultStore
from storage.jobs.results import BatchResult
from storage.jobs.reuse import Known, ReuseStore, keys_of, name_of
from storage.jobs.tally import Tally
from storage.models.store import ModelStore
from storage.settings import StorageSettings
from tests.builders import (
    DEADLY,
    Death,
    FakePredictor,
    MortalJobStore,
    array_job,
    encode,
    file_job,
    image_file,
    images_of,
    loader_of,
    publish,
    ranking_of,
    result_of,
)
from worker.batches.phases import Phases
from worker.batches.progress import Progress
from worker.batches.quarantine import CONVICTED_AFTER, SUSPECT_AFTER
from worker.batches.reuse import Memory, Reuse
from worker.batches.runner import BatchRunner
from worker.runtimes.model_cache import ModelCache


class System:
    """Storage with a model and a runner whose predictor tells what it had to compute."""

    def __init__(self, root: Path) -> None:
        self.jobs = MortalJobStore(root)
        self.kept = ReuseStore(root)
        self.pin = publish(ModelStore(root)).pin
        self.predictor = FakePredictor()
        self.runner = self.new_runner()

    def new_runner(self) -> BatchRunner:
        return BatchRunner(
            jobs=self.jobs,
            models=ModelCache(ModelStore(self.jobs.root), loader_of(self.predictor)),
            reuse=Reuse(self.kept, 1_000_000),
            settings=StorageSettings(),
            send=lambda message: None,
            notify=lambda job_id, fields: None,
        )

    def classify(self, pixels: Pixels) -> Iterator[Ranking]:
        yield Ranking.of(self.predictor(pixels), 1)

    def job(self, id: str, images: Pixels, *, reuse: bool = True, **fields: Any) -> Job:
        known: dict[str, Any] = {"model": self.pin, "batch_size": 100, "reuse": reuse}
        return array_job(self.jobs, images, id=id, **(known | fields))

    def run(self, job: Job) -> int:
        """Run a whole job; returns how many images were computed."""
        self.predictor.calls.clear()
        for batch in range(job.batches):
            self.runner.run(PredictBatch(job=job.id, batch=batch))
        return sum(map(len, self.predictor.calls))

    def result(self, job: Job, batch: int = 0) -> BatchResult:
        return self.jobs.of(job).results.read(batch)

    def predictions(self, job: Job) -> list[int]:
        results = [self.result(job, batch) for batch in range(job.batches)]
        return [prediction for result in results for prediction in result.predictions.tolist()]

    def reused(self, job: Job) -> int:
        tally = Tally(self.jobs.of(job))
        tally.refresh()
        return tally.reused


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def noise(count: int, seed: int = 1) -> Pixels:
    """Images that are all different, none of them deadly."""
    return np.random.default_rng(seed).integers(0, 255, (count, 4, 4, 1), np.uint8)


# What is computed


def test_images_that_were_classified_before_are_not_computed_again(system: System) -> None:
    images = noise(250)
    first = system.job("first", images)
    assert system.run(first) == 250
    assert system.reused(first) == 0
    system.runner = system.new_runner()  # what is known lies on storage
    second = system.job("second", images[::-1])
    assert system.run(second) == 0
    assert system.reused(second) == 250
    assert system.predictions(second) == system.predictions(first)[::-1]


def test_of_one_percent_new_images_one_percent_is_computed(system: System) -> None:
    images = noise(1000)
    system.run(system.job("first", images))
    images[::100] = noise(10, seed=2)
    second = system.job("second", images)
    assert system.run(second) == 10
    assert system.reused(second) == 990
    plain = system.job("plain", images, reuse=False)
    system.run(plain)
    assert system.predictions(second) == system.predictions(plain)


def test_images_that_come_twice_in_a_batch_are_computed_once(system: System) -> None:
    images = noise(30)[np.random.default_rng(2).integers(0, 30, 200)]
    different = len(np.unique(images.reshape(200, -1), axis=0))
    job = system.job("job", images, batch_size=200)
    assert system.run(job) == different
    assert system.reused(job) == 200 - different
    assert system.predictions(job) == (images[:, 0, 0, 0] % 3).tolist()


def test_a_later_batch_of_a_job_knows_what_an_earlier_one_has_computed(system: System) -> None:
    job = system.job("job", np.concatenate([noise(100), noise(100)]))
    assert system.run(job) == 100
    assert [system.result(job, batch).reused for batch in range(2)] == [0, 100]


def test_files_and_arrays_know_of_each_other(system: System) -> None:
    images = noise(5)
    files = [image_file(encode(image)) for image in images]
    system.run(file_job(system.jobs, files, id="files", model=system.pin, reuse=True))
    assert system.run(system.job("arrays", images)) == 0


def test_nothing_is_taken_from_another_model(system: System) -> None:
    class Other(FakePredictor):
        def __call__(self, pixels: Pixels) -> NDArray[np.float32]:
            return np.roll(super().__call__(pixels), 1, axis=1)

    images = noise(20)
    system.run(system.job("first", images))
    other = publish(ModelStore(system.jobs.root), content=b"another model").pin
    system.predictor = Other()
    system.runner = system.new_runner()
    job = system.job("second", images, model=other)
    assert system.run(job) == 20
    assert system.predictions(job) == ((images[:, 0, 0, 0].astype(int) + 1) % 3).tolist()


def test_a_first_run_has_the_scores_of_a_job_without_reuse_to_the_last_bit(
    system: System,
) -> None:
    images = noise(100)
    results = []
    for reuse in (True, False):
        job = system.job(f"reuse-{reuse}", images, reuse=reuse)
        system.run(job)
        results.append(system.result(job))
        np.testing.assert_array_equal(system.predictor.calls[0], images)
    np.testing.assert_array_equal(results[0].scores, results[1].scores, strict=True)


def test_a_job_without_reuse_neither_takes_nor_gives(system: System) -> None:
    images = noise(20)
    plain = system.job("plain", images, reuse=False)
    assert system.run(plain) == 20
    assert system.kept.files(system.pin) == []
    system.run(system.job("first", images))
    again = system.job("again", images, reuse=False)
    assert system.run(again) == 20
    content = system.jobs.of(again).results.path(0).read_bytes()
    assert content == system.jobs.of(plain).results.path(0).read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert "reused.npy" not in archive.namelist()


def test_the_summary_of_a_batch_says_how_many_were_reused(system: System) -> None:
    images = noise(20)
    system.run(system.job("first", images))
    job = system.job("second", images)
    assert system.runner.run(PredictBatch(job=job.id, batch=0))["reused"] == 20


# Bad images


def test_failed_images_are_tried_again_and_not_counted_as_reused(system: System) -> None:
    images = noise(5)
    contents = [encode(image) for image in images]
    contents[1] = b"no image"
    files = [image_file(content) for content in contents]
    for id, computed, reused in (("first", 4, 0), ("second", 0, 4)):
        job = file_job(system.jobs, files, id=id, model=system.pin, reuse=True, batch_size=5)
        assert system.run(job) == computed
        result = system.result(job)
        assert (result.reused, list(result.errors)) == (reused, [1])
        assert result.predictions[1] == FAILED
    assert [file.images for file in system.kept.files(system.pin)] == [4]


def test_a_black_image_is_not_taken_for_a_failed_one(system: System) -> None:
    black = [image_file(b"no image"), image_file(encode(images_of([0])[0]))]
    job = file_job(system.jobs, black, model=system.pin, reuse=True)
    assert system.run(job) == 1
    assert system.result(job).predictions.tolist() == [FAILED, 0]


def test_what_the_model_cannot_judge_is_tried_again_and_never_kept(system: System) -> None:
    class Unsure(FakePredictor):
        def __call__(self, pixels: Pixels) -> NDArray[np.float32]:
            return np.where(pixels[:, 0, 0] == 7, np.nan, super().__call__(pixels))

    system.predictor = Unsure()
    system.runner = system.new_runner()
    images = images_of([1, 7, 2, 7])
    for id, computed in (("first", 3), ("second", 1)):
        job = system.job(id, images)
        assert system.run(job) == computed
        assert system.result(job).predictions.tolist() == [1, FAILED, 2, FAILED]
        assert sorted(system.result(job).errors) == [1, 3]
    assert [file.images for file in system.kept.files(system.pin)] == [2]


def test_an_image_that_kills_is_found_and_never_kept(system: System) -> None:
    images = images_of([1, 2, DEADLY, 4])
    for id in ("first", "second"):
        job = system.job(id, images)
        deaths = 0
        while not system.jobs.of(job).results.has(0):
            system.runner = system.new_runner()
            try:
                system.run(job)
            except Death:
                deaths += 1
        assert deaths == SUSPECT_AFTER + CONVICTED_AFTER
        assert list(system.result(job).errors) == [2]
        assert [file.images for file in system.kept.files(system.pin)] == [3]
    assert system.reused(job) == 3


# Faults


def test_a_worker_that_dies_over_a_batch_keeps_nothing_of_it(system: System) -> None:
    def die(pixels: Pixels) -> None:
        raise Death

    images = noise(200)
    job = system.job("job", images)
    system.run(job)
    system.predictor.before = die
    other = system.job("other", noise(200, seed=2))
    with pytest.raises(Death):
        system.run(other)
    assert sum(file.images for file in system.kept.files(system.pin)) == 200
    system.predictor.before = lambda pixels: None
    system.runner = system.new_runner()
    assert system.run(other) == 200


def test_a_worker_that_dies_before_its_result_is_written_leaves_right_answers(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> bool:
        raise Death

    job = system.job("job", noise(100))
    with monkeypatch.context() as patch:
        patch.setattr(ResultStore, "write", die)
        with pytest.raises(Death):
            system.run(job)
    system.runner = system.new_runner()
    assert system.run(job) == 0
    assert system.predictions(job) == (noise(100)[:, 0, 0, 0] % 3).tolist()


def test_a_damaged_file_is_ignored_and_computed_again(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    images = noise(200)
    first = system.job("first", images)
    system.run(first)
    path = system.kept.files(system.pin)[0].path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    system.runner = system.new_runner()
    second = system.job("second", images)
    assert system.run(second) == 100
    assert system.predictions(second) == system.predictions(first)
    assert system.run(system.job("third", images)) == 0
    assert caplog.text.count("is damaged") == 1, "it is read once"


def test_a_file_that_nobody_can_have_written_is_ignored(system: System) -> None:
    """Its digest is right, its content makes no sense."""
    images = noise(1)
    known = Known(keys=keys_of(images), ranking=ranking_of([2, 2], [1, 1]))
    content = known.to_bytes(system.pin)
    path = system.kept.add(
        system.pin,
        Known(keys=known.keys, ranking=ranking_of(np.zeros(1, np.int32), np.ones(1, "f4"))),
    )
    path.unlink()
    (path.parent / name_of(1, content)).write_bytes(content)
    assert system.run(system.job("job", images)) == 1


def test_without_a_place_to_keep_them_images_are_computed_all_the_same(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    system.jobs.folder.mkdir()
    (system.jobs.folder / ".reuse").write_text("a file where a folder should be")
    job = system.job("job", noise(20))
    assert system.run(job) == 20
    assert len(system.predictions(job)) == 20
    assert "are not kept for reuse" in caplog.text


def test_two_outcomes_that_differ_in_the_last_digits_of_scores_are_one(system: System) -> None:
    job = system.job("job", noise(3), reuse=True)
    one, other = (
        result_of([0, 1, 2], model=system.pin, reused=0),
        result_of([0, 1, 2], model=system.pin, reused=3),
    )
    other.scores[1] = np.nextafter(other.scores[1], np.float32(1))
    assert system.jobs.of(job).results.write(0, one)
    assert not system.jobs.of(job).results.write(0, other)
    assert system.result(job).reused == 0, "the first stays"
    with pytest.raises(ConflictingResult):
        system.jobs.of(job).results.write(0, result_of([0, 1, 1], model=system.pin, reused=0))


def test_two_workers_at_once_come_to_the_same(system: System) -> None:
    """Another worker computes the whole job while this one is at its first batch."""
    images = noise(200)
    other = system.new_runner()
    job = system.job("job", images)

    def overtake(pixels: Pixels) -> None:
        system.predictor.before = lambda pixels: None
        files = [image_file(encode(image)) for image in images]
        twin = file_job(system.jobs, files, id="twin", model=system.pin, batch_size=100, reuse=True)
        for batch in range(2):
            other.run(PredictBatch(job=twin.id, batch=batch))

    system.predictor.before = overtake
    assert system.run(job) == 100 + 200, "one batch is computed by both"
    assert system.reused(job) == 100
    assert system.run(system.job("third", images)) == 0
    assert system.jobs.of(job).status(2) is Status.COMPLETED


# More classes than the likeliest one


@pytest.mark.parametrize("fields", [{"top": 2}, {"probabilities": True}])
def test_more_classes_are_reused_and_only_from_jobs_that_kept_as_many(
    system: System, fields: dict[str, Any]
) -> None:
    images = noise(100)
    assert system.run(system.job("flat", images)) == 100
    first = system.job("first", images, **fields)
    assert system.run(first) == 100
    second = system.job("second", images, **fields)
    assert system.run(second) == 0
    expected = Ranking.of(FakePredictor()(images), first.depth)
    for job in (first, second):
        found = system.jobs.of(job).results.read(0).ranking
        np.testing.assert_array_equal(found.classes, expected.classes)
        np.testing.assert_array_equal(found.scores, expected.scores)
    assert system.run(system.job("again", images)) == 0


# What is kept of a batch before its end


def test_what_a_killed_attempt_had_finished_is_not_computed_again(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.batches.progress.SAVE_SECONDS", 0.0)
    system.predictor.chunk = 30
    images = noise(100)
    last = images[99, 0, 0, 0]

    def die_late(pixels: Pixels) -> None:
        if len(pixels) == 10 and pixels[9, 0, 0, 0] == last:
            raise Death

    system.predictor.before = die_late
    job = system.job("job", images)
    with pytest.raises(Death):
        system.run(job)
    assert [len(call) for call in system.predictor.calls] == [30, 30, 30, 10]
    system.predictor.before = lambda pixels: None
    system.runner = system.new_runner()
    assert system.run(job) == 10
    assert system.predictions(job) == (images[:, 0, 0, 0] % 3).tolist()


# Memory


def remember(system: System, numbers: range) -> list[Pixels]:
    """So many files of ten images each, a second apart."""
    reuse = Reuse(system.kept, 0)
    parts = []
    for number in numbers:
        parts.append(noise(10, seed=number))
        reuse.classify(system.pin, 1, parts[-1], system.classify, Phases(), Progress())
        newest = system.kept.files(system.pin)
        (path,) = {file.path for file in newest} - {
            file.path for file in newest if file.modified < 1e6
        }
        os.utime(path, (number, number))
    return parts


def computed(system: System, reuse: Reuse, images: Pixels) -> int:
    system.predictor.calls.clear()
    reuse.classify(system.pin, 1, images, system.classify, Phases(), Progress())
    return sum(map(len, system.predictor.calls))


def test_only_the_latest_images_are_known_beyond_the_limit(system: System) -> None:
    parts = remember(system, range(1, 6))
    memory = Memory(system.kept, system.pin, 1, 25)
    memory.refresh()
    assert len(memory) == 20
    images = np.concatenate(parts)
    assert computed(system, Reuse(system.kept, 25), images) == 30
    assert computed(system, Reuse(system.kept, 50), images) == 0


def test_a_process_forgets_what_was_removed_and_learns_what_has_come(system: System) -> None:
    (part,) = remember(system, range(1, 2))
    reuse = Reuse(system.kept, 1000)
    assert computed(system, reuse, part) == 0
    (file,) = system.kept.files(system.pin)
    file.path.unlink()
    assert computed(system, reuse, part) == 10
    assert computed(system, reuse, part) == 0
