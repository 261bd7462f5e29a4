import errno
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from kombu.exceptions import OperationalError

from evaluation.ranking import FAILED, Ranking
from imaging.images import Pixels
from messaging.errors import BadMessage
from messaging.messages import PredictBatch
from storage.errors import NotFound, StorageAway
from storage.identity import storage_id
from storage.jobs.attempts import read_events
from storage.jobs.job import Job, Status
from storage.jobs.results import BatchResult
from storage.jobs.reuse import ReuseStore
from storage.jobs.store import JobStore
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
    result_of,
)
from tests.processes import wait_for
from worker.batches.quarantine import CONVICTED_AFTER, HOPELESS_ERRORS, SUSPECT_AFTER
from worker.batches.reuse import Reuse
from worker.batches.runner import BatchRunner, Summary
from worker.batches.watchdog import StepTooLong, Watchdog
from worker.errors import ModelRefused
from worker.runtimes.model_cache import ModelCache


class System:
    """Storage, a published model, and runners with fakes for predictor, queue, notifications."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.settings = StorageSettings(**settings)
        self.jobs = MortalJobStore(root)
        self.version = publish(ModelStore(root))
        self.predictor = FakePredictor()
        self.load: Any = loader_of(self.predictor)
        self.sent: list[int] = []
        self.notified: list[Summary] = []
        self.speeds: list[tuple[str, float]] = []
        self.runner = self.new_runner()

    def new_runner(self, watchdog: Watchdog | None = None) -> BatchRunner:
        """A worker process after a restart: nothing is remembered but what lies on storage."""
        return BatchRunner(
            watchdog=watchdog,
            jobs=self.jobs,
            models=ModelCache(ModelStore(self.jobs.root), self.load),
            reuse=Reuse(ReuseStore(self.jobs.root), 1_000_000),
            settings=self.settings,
            send=lambda message: self.sent.append(message.batch),
            notify=lambda job_id, fields: self.notified.append({"job": job_id, **fields}),
            tell_speed=lambda sha256, speed: self.speeds.append((sha256, speed)),
        )

    def array_job(self, firsts: Sequence[int], **fields: Any) -> Job:
        return array_job(self.jobs, images_of(firsts), model=self.version.pin, **fields)

    def run(self, job: Job, batch: int = 0) -> Summary:
        return self.runner.run(PredictBatch(job=job.id, batch=batch))

    def predictions(self, job: Job, batch: int = 0) -> list[int]:
        found: list[int] = self.jobs.of(job).results.read(batch).predictions.tolist()
        return found

    def outcomes(self, job: Job, batch: int = 0) -> list[str]:
        events = read_events(self.jobs.of(job).attempts.path(batch))
        return [event["outcome"] for event in events if event["event"] == "end"]

    def run_to_the_end(self, job: Job, batch: int = 0) -> int:
        """Run a batch in one process after the other until it is done; returns the deaths."""
        for deaths in range(100):
            self.runner = self.new_runner()
            try:
                self.run(job, batch)
            except Death:
                continue
            return deaths
        raise AssertionError("the batch never ends")


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def stop_of(system: System, job: Job) -> tuple[Status, str]:
    stop = system.jobs.of(job).stopped()
    assert stop is not None
    return stop.status, stop.reason


# What is kept of each image


@pytest.mark.parametrize("fields", [{"top": 2}, {"probabilities": True}])
def test_as_many_classes_are_kept_as_the_job_asks_for_and_a_bad_image_costs_no_other(
    system: System, fields: dict[str, Any]
) -> None:
    contents = [encode(images_of([first])[0]) for first in (1, 2, 0)]
    files = [image_file(content, i) for i, content in enumerate([*contents, b"no image"])]
    job = file_job(system.jobs, files, model=system.version.pin, batch_size=4, **fields)
    system.run(job)
    result = system.jobs.of(job).results.read(0)
    expected = Ranking.of(FakePredictor()(images_of([1, 2, 0])), job.depth)
    np.testing.assert_array_equal(result.ranking.classes[:3], expected.classes)
    np.testing.assert_array_equal(result.ranking.scores[:3], expected.scores)
    assert set(result.ranking.classes[3].tolist()) == {FAILED}
    assert list(result.errors) == [3]


# A batch like any other


def test_a_batch_is_classified_written_logged_passed_on_and_rung(system: System) -> None:
    job = system.array_job(range(10), labels=[0, 1, 2, 1, *([0] * 6)])
    summary = system.run(job)
    assert system.predictions(job) == [0, 1, 2, 0]
    assert system.outcomes(job) == ["done"]
    assert system.sent == [2]
    milliseconds = summary.pop("ms")
    assert milliseconds >= 0
    assert summary == {"model": "digits@1", "batch": "1/3", "images": 4, "correct": 3}
    assert system.notified == [
        {"job": "job", "event": "batch", "number": 0, **summary, "ms": milliseconds}
    ]


def test_the_last_batch_of_a_chain_has_no_successor(system: System) -> None:
    job = system.array_job(range(10))
    system.run(job, 2)
    assert system.predictions(job, 2) == [2, 0]
    assert system.sent == []
    assert len(system.notified) == 1


def test_the_heads_of_the_chains_are_enough_to_run_the_whole_job(system: System) -> None:
    job = system.array_job(range(23), batch_size=2, window=3)
    system.sent += system.jobs.of(job).chains.heads()
    ran = []
    while system.sent:
        ran.append(batch := system.sent.pop(0))
        system.run(job, batch)
    assert sorted(ran) == list(range(12))
    assert system.jobs.of(job).status(len(system.jobs.of(job).results.done())) is Status.COMPLETED
    found = [p for batch in range(12) for p in system.predictions(job, batch)]
    assert found == [i % 3 for i in range(23)]


@pytest.mark.parametrize(
    "error", [OperationalError("refused"), redis.ConnectionError("gone"), OSError("unreachable")]
)
def test_a_result_stands_though_the_broker_takes_neither_successor_nor_ring(
    system: System, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise error

    job = system.array_job(range(10))
    system.runner._send = fail
    assert system.run(job)["images"] == 4
    assert system.jobs.of(job).results.has(0)
    assert "could not be passed on" in caplog.text


def test_the_model_is_loaded_once_for_all_batches(system: System) -> None:
    loaded = []

    def load(version: Any) -> Any:
        loaded.append(str(version))
        return system.predictor

    system.load = load
    system.runner = system.new_runner()
    job = system.array_job(range(10))
    for batch in range(3):
        system.run(job, batch)
    assert loaded == ["digits@1"]


# A batch that need not run


def test_a_batch_that_is_done_is_not_run_again_but_passed_on(system: System) -> None:
    job = system.array_job(range(10))
    system.run(job)
    system.sent.clear()
    assert system.run(job) == {"skipped": "done before"}
    assert len(system.predictor.calls) == 1
    assert system.outcomes(job) == ["done"]
    assert system.sent == [2]


@pytest.mark.parametrize("status", [Status.CANCELLED, Status.FAILED])
def test_a_batch_of_a_stopped_job_is_skipped_and_its_chain_ends(
    system: System, status: Status
) -> None:
    job = system.array_job(range(10))
    system.jobs.of(job).stop(status, "reason")
    assert system.run(job) == {"skipped": f"job {status}"}
    assert not system.predictor.calls
    assert system.sent == []
    assert system.jobs.of(job).results.done() == set()


def test_a_batch_that_another_worker_runs_is_left_to_it_with_its_chain(system: System) -> None:
    job = system.array_job(range(10))
    system.jobs.of(job).attempts.begin(0)
    log = system.jobs.of(job).attempts.path(0)
    log.write_text(log.read_text().replace('"boot": "', '"boot": "another '))
    assert system.run(job) == {"skipped": "another worker runs it"}
    assert not system.predictor.calls
    assert system.sent == [], "whoever runs it sends the successor"


def test_a_batch_or_job_that_does_not_exist_is_refused(system: System) -> None:
    job = system.array_job(range(10))
    with pytest.raises(BadMessage, match="has 3 batches, there is no batch 3"):
        system.run(job, 3)
    with pytest.raises(NotFound):
        system.runner.run(PredictBatch(job="other", batch=0))
    assert system.sent == []


def test_a_new_job_under_the_id_of_a_removed_one_is_not_taken_for_it(system: System) -> None:
    system.run(system.array_job([0, 1, 2, 0]))
    system.jobs.remove("job")
    job = system.array_job([2, 2], fingerprint="e" * 64)
    system.run(job)
    assert system.predictions(job) == [2, 2]


# Twice


def test_a_batch_computed_twice_at_once_counts_once(system: System) -> None:
    job = system.array_job(range(4))
    system.run(job)
    result = system.jobs.of(job).results.read(0)
    system.jobs.of(job).results.discard(0)
    system.predictor.before = lambda pixels: write(system, job, result)  # another worker is faster
    system.run(job)
    assert system.outcomes(job) == ["done", "duplicate"]
    assert system.predictions(job) == [0, 1, 2, 0]


def test_two_different_outcomes_of_a_batch_fail_the_job_and_both_are_named(
    system: System,
) -> None:
    job = system.array_job(range(4))
    other = result_of([2, 2, 2, 2], model=job.model)
    system.predictor.before = lambda pixels: write(system, job, other)
    summary = system.run(job)
    status, reason = stop_of(system, job)
    assert status is Status.FAILED
    assert summary == {"failed": reason}
    assert str(system.jobs.of(job).results.path(0)) in reason
    assert "conflicts" in reason
    assert system.predictions(job) == [2, 2, 2, 2]


def test_two_computations_of_a_batch_that_round_differently_count_as_one(system: System) -> None:
    job = system.array_job(range(4))
    system.run(job)
    first = system.jobs.of(job).results.read(0)
    system.jobs.of(job).results.discard(0)
    first.scores[:] += np.float32(4e-7)
    system.predictor.before = lambda pixels: write(system, job, first)  # on another processor
    assert system.run(job)["images"] == 4
    assert system.outcomes(job) == ["done", "duplicate"]
    assert system.jobs.of(job).stopped() is None
    assert system.jobs.of(job).results.path(0).read_bytes() == first.to_bytes()


def write(system: System, job: Job, result: BatchResult) -> None:
    system.jobs.of(job).results.write(0, result)


# Heartbeats


def test_an_attempt_gives_signs_of_life_within_its_lease_and_none_after_its_end(
    tmp_path: Path,
) -> None:
    system = System(tmp_path, lease_seconds=1.0)
    job = system.array_job(range(4))
    log = system.jobs.of(job).attempts.path(0)
    seen = []

    def be_slow(pixels: Pixels) -> None:
        seen.extend(read_events(log))
        for _ in range(2):
            os.utime(log, (0, 0))
            wait_for(lambda: log.stat().st_mtime > 0, "a heartbeat", 0.5)

    system.predictor.before = be_slow
    system.run(job)
    assert seen[0]["lease"] == 1.0
    os.utime(log, (0, 0))
    time.sleep(0.5)
    assert log.stat().st_mtime == 0, "nobody runs it any more"


# Bad images


def test_bad_images_become_records_and_the_others_keep_their_scores_to_the_last_bit(
    system: System,
) -> None:
    contents = [encode(image) for image in images_of(range(4))]
    good = file_job(
        system.jobs, [image_file(c) for c in contents], id="good", model=system.version.pin
    )
    contents[1] = b"no image"
    bad = file_job(
        system.jobs, [image_file(c) for c in contents], id="bad", model=system.version.pin
    )
    system.run(good)
    assert system.run(bad)["failed"] == 1
    whole, rest = (system.jobs.of(job).results.read(0) for job in (good, bad))
    assert rest.predictions.tolist() == [0, FAILED, 2, 0]
    kept = [0, 2, 3]
    np.testing.assert_array_equal(rest.scores[kept], whole.scores[kept], strict=True)
    assert list(rest.errors) == [1]


def test_a_job_with_more_bad_images_than_it_allows_is_stopped(system: System) -> None:
    files = [image_file(encode(images_of([1])[0]))] * 5 + [image_file(b"no image")] * 3
    job = file_job(
        system.jobs, files, batch_size=2, model=system.version.pin, max_failure_rate=0.25
    )
    for batch in (0, 1, 2):  # one bad image of eight
        system.run(job, batch)
    assert system.jobs.of(job).stopped() is None
    system.run(job, 3)  # three
    status, reason = stop_of(system, job)
    assert status is Status.FAILED
    assert reason == "3 of 8 images failed, more than --max-failure-rate 0.25 allows."


def test_a_torn_result_of_another_batch_does_not_fail_a_job_with_a_limit(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    files = [image_file(encode(images_of([1])[0])), image_file(b"no image")] * 4
    job = file_job(system.jobs, files, batch_size=2, model=system.version.pin, max_failure_rate=0.6)
    for batch in range(3):
        system.runner = system.new_runner()  # has not seen the result before it was torn
        system.run(job, batch)
        system.jobs.of(job).results.path(0).write_bytes(b"torn")
    assert system.jobs.of(job).stopped() is None
    assert system.outcomes(job, 1) == ["done"]
    assert "000000.npz is damaged" in caplog.text
    system.jobs.of(job).results.discard(0)
    system.run(job, 0)
    system.run(job, 3)
    assert system.jobs.of(job).status(4) is Status.COMPLETED


def test_a_torn_result_counts_again_once_it_has_been_computed_again(system: System) -> None:
    files = [image_file(b"no image")] * 8
    job = file_job(system.jobs, files, batch_size=2, model=system.version.pin, max_failure_rate=0.5)
    system.run(job, 0)
    system.jobs.of(job).results.path(0).write_bytes(b"torn")
    system.runner = system.new_runner()
    for batch in (1, 2):
        system.run(job, batch)
    assert system.jobs.of(job).stopped() is None, "four of eight are known to have failed"
    system.jobs.of(job).results.discard(0)
    system.run(job, 0)
    assert stop_of(system, job) == (
        Status.FAILED,
        "6 of 8 images failed, more than --max-failure-rate 0.5 allows.",
    )


def test_a_job_with_as_many_bad_images_as_it_allows_goes_on(system: System) -> None:
    files = [image_file(encode(images_of([1])[0])), image_file(b"no image")]
    job = file_job(system.jobs, files, model=system.version.pin, max_failure_rate=0.5)
    system.run(job)
    assert system.jobs.of(job).stopped() is None


# What ends a job


def test_a_damaged_model_fails_the_job_and_says_so(system: System) -> None:
    system.version.model_path.write_bytes(b"other")
    job = system.array_job(range(10))
    summary = system.run(job)
    status, reason = stop_of(system, job)
    assert (status, summary) == (Status.FAILED, {"failed": reason})
    assert "digits@1 is damaged" in reason
    assert system.outcomes(job)[0].startswith("refused: ")
    assert system.jobs.of(job).results.done() == set()


def test_a_model_that_cannot_be_loaded_fails_its_job_and_no_other(system: System) -> None:
    bad = publish(ModelStore(system.jobs.root), "bad")

    def load(version: Any) -> Any:
        if version.name == "bad":
            raise ModelRefused("The model bad@1 fails its warm-up.")
        return system.predictor

    system.load = load
    system.runner = system.new_runner()
    failing = array_job(system.jobs, images_of(range(4)), id="failing", model=bad.pin)
    system.run(failing)
    assert stop_of(system, failing) == (Status.FAILED, "The model bad@1 fails its warm-up.")
    good = system.array_job(range(4), id="good")
    system.run(good)
    assert system.predictions(good) == [0, 1, 2, 0]


def test_images_that_changed_since_the_submission_fail_the_job(system: System) -> None:
    job = system.array_job(range(4))
    os.utime(system.jobs.root / "images.npy", (0, 0))
    system.run(job)
    assert "have changed since it was submitted" in stop_of(system, job)[1]


# What is tried again


@pytest.mark.parametrize("kind", ["arrays", "files", "reuse"])
def test_an_error_that_no_image_is_to_blame_for_fails_the_job_in_the_end(
    system: System, kind: str
) -> None:
    def fail(pixels: Pixels) -> None:
        raise LookupError("odd")

    system.predictor.before = fail
    if kind != "files":
        job = system.array_job(range(10), reuse=kind == "reuse")
        names = "images 0 to 3 of images.npy"
    else:
        files = [image_file(encode(image), n) for n, image in enumerate(images_of(range(10)))]
        job = file_job(system.jobs, files, model=system.version.pin)
        names = "folder/0.png to folder/3.png"
    for attempt in range(1, HOPELESS_ERRORS + 1):
        assert system.jobs.of(job).stopped() is None
        with pytest.raises(LookupError):
            system.run(job)
        assert system.outcomes(job) == ["error: odd"] * attempt
    assert system.sent == [0] * (HOPELESS_ERRORS - 1)
    assert stop_of(system, job) == (
        Status.FAILED,
        f"Batch 0 failed {HOPELESS_ERRORS} times, at last with: odd ({names})",
    )


def test_an_error_of_the_whole_batch_alone_fails_the_job_after_a_walk(system: System) -> None:
    def fail(pixels: Pixels) -> None:
        if len(pixels) > 1:
            raise LookupError("odd")

    system.predictor.before = fail
    job = system.array_job(range(4))
    for _ in range(HOPELESS_ERRORS):
        assert system.jobs.of(job).stopped() is None
        with pytest.raises(LookupError):
            system.run(job)
    assert [len(c) for c in system.predictor.calls] == [4, 4, 1, 1, 1, 1, 4]
    assert stop_of(system, job)[0] is Status.FAILED


@pytest.mark.parametrize("odd", [(1,), (0, 3)])
def test_images_that_raise_become_records_and_the_others_are_classified(
    system: System, odd: tuple[int, ...]
) -> None:
    firsts = [50 if position in odd else position for position in range(4)]

    def fail(pixels: Pixels) -> None:
        if (pixels == 50).any():
            raise LookupError("odd")

    system.predictor.before = fail
    job = system.array_job(firsts)
    for _ in range(SUSPECT_AFTER):
        with pytest.raises(LookupError):
            system.run(job)
    assert system.run(job)["failed"] == len(odd)
    result = system.jobs.of(job).results.read(0)
    assert result.errors == dict.fromkeys(odd, "unexpected error: LookupError: odd")
    expected = [FAILED if position in odd else position % 3 for position in range(4)]
    assert result.predictions.tolist() == expected
    assert system.jobs.of(job).stopped() is None


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.ENOSPC, "has no room left: make some"),
        (errno.EDQUOT, "has no room left: make some"),
        (errno.EROFS, "is read-only here"),
    ],
)
def test_storage_that_takes_nothing_is_not_held_against_the_batch_which_goes_back(
    system: System, code: int, says: str
) -> None:
    def fail(pixels: Pixels) -> None:
        raise OSError(code, os.strerror(code))

    system.predictor.before = fail
    job = system.array_job(range(4))
    for _ in range(HOPELESS_ERRORS + 1):
        with pytest.raises(StorageAway, match=says):
            system.run(job)
    assert system.jobs.of(job).stopped() is None
    history = system.jobs.of(job).attempts.history(0, 15)
    assert (history.errors, history.deaths) == (0, 0)
    system.predictor.before = lambda pixels: None
    system.run(job)
    assert system.predictions(job) == [0, 1, 2, 0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_full_costs_neither_open_files_nor_images_once_there_is_room(
    small_disk: Path,
) -> None:
    system = System(small_disk)
    job = system.array_job([*range(4)] * 100, batch_size=400)

    def fill(pixels: Pixels) -> None:
        with suppress(OSError), (small_disk / "filling").open("ab", buffering=0) as file:
            while True:
                file.write(bytes(1024))

    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    system.predictor.before = fill
    before = None
    for _ in range(60):
        with pytest.raises(StorageAway, match="has no room left"):
            system.run(job)
        before = before or open_files()
    assert before is not None
    assert open_files() <= before
    assert system.jobs.of(job).stopped() is None
    (small_disk / "filling").unlink()
    system.predictor.before = lambda pixels: None
    system.run(job)
    result = system.jobs.of(job).results.read(0)
    assert not result.errors
    assert result.predictions.tolist() == [0, 1, 2, 0] * 100


def test_a_worker_that_is_shut_down_is_not_held_against_the_batch(system: System) -> None:
    def shut_down(pixels: Pixels) -> None:
        raise SystemExit

    system.predictor.before = shut_down
    job = system.array_job(range(4))
    for _ in range(HOPELESS_ERRORS):
        with pytest.raises(SystemExit):
            system.run(job)
    history = system.jobs.of(job).attempts.history(0, 15)
    assert (history.errors, history.deaths) == (0, 0)


def test_a_time_limit_sends_the_batch_again_and_the_chain_goes_on(system: System) -> None:
    def exceed(pixels: Pixels) -> None:
        raise StepTooLong

    system.predictor.before = exceed
    job = system.array_job(range(10))
    assert system.run(job) == {"failed": "time limit"}
    assert system.outcomes(job) == ["timeout"]
    assert sorted(system.sent) == [0, 2]


def results_after_many_attempts(system: System, job: Job) -> BatchResult:
    for _ in range(10):
        with suppress(Death):
            system.run(job)
        if system.jobs.of(job).results.has(0):
            return system.jobs.of(job).results.read(0)
    raise AssertionError("no end")


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("end", [StepTooLong, Death])
def test_a_batch_that_only_exceeds_the_limit_as_a_whole_is_computed_image_by_image(
    system: System, end: type[BaseException], reuse: bool
) -> None:
    def exceed(pixels: Pixels) -> None:
        if len(pixels) > 1:
            raise end

    system.predictor.before = exceed
    job = system.array_job(range(4), reuse=reuse)
    assert results_after_many_attempts(system, job).predictions.tolist() == [0, 1, 2, 0]
    assert len(system.outcomes(job)) <= 4


def test_a_model_of_other_classes_than_its_job_has_fails_the_job(system: System) -> None:
    system.predictor.classes = 5
    job = system.array_job(range(4))
    system.run(job)
    stop = system.jobs.of(job).stopped()
    assert stop is not None
    assert "tells 5 classes apart, and its manifest named 3" in stop.reason


def test_a_batch_that_never_ends_in_time_is_given_up_in_the_end(system: System) -> None:
    def exceed(pixels: Pixels) -> None:
        alone = sum(len(call) == 1 for call in system.predictor.calls)
        if len(pixels) > 1 or alone > 4:  # each once in the walk
            raise StepTooLong

    system.predictor.before = exceed
    result = results_after_many_attempts(system, system.array_job(range(4)))
    assert result.predictions.tolist() == [FAILED] * 4
    assert set(result.errors.values()) == {"its batch ran into the time limit of a step 4 times"}


def test_what_a_killed_attempt_had_finished_is_not_computed_again(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.batches.progress.SAVE_SECONDS", 0.0)
    system.predictor.chunk = 2

    def die_late(pixels: Pixels) -> None:
        if pixels[0, 0, 0, 0] == 4:
            raise Death

    system.predictor.before = die_late
    images = [image_file(encode(image)) for image in images_of(range(8))]
    images[1] = image_file(b"no image")
    job = file_job(system.jobs, images, model=system.version.pin, batch_size=8)
    with pytest.raises(Death):
        system.run(job)
    assert [call[0, 0, 0, 0] for call in system.predictor.calls] == [0, 2, 4]
    system.predictor.calls.clear()
    system.predictor.before = lambda pixels: None
    system.runner = system.new_runner()
    system.run(job)
    assert [call[0, 0, 0, 0] for call in system.predictor.calls] == [4, 6]
    assert system.predictions(job) == [0, FAILED, 2, 0, 1, 2, 0, 1]
    assert list(system.jobs.of(job).results.read(0).errors) == [1]
    assert system.jobs.of(job).results.saved(0) is None, "it is not needed any more"


@pytest.mark.parametrize("damage", [b"", b"PK torn"])
def test_what_was_saved_and_is_damaged_is_computed_again(
    system: System, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    monkeypatch.setattr("worker.batches.progress.SAVE_SECONDS", 0.0)
    job = system.array_job(range(8), batch_size=8)
    path = system.jobs.of(job).attempts.path(0).with_suffix(".npz")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(damage)
    system.run(job)
    assert system.predictions(job) == [0, 1, 2, 0, 1, 2, 0, 1]


def test_a_batch_that_moves_is_never_too_long_and_one_step_is(tmp_path: Path) -> None:
    system = System(tmp_path)
    system.predictor.chunk = 1
    system.predictor.before = lambda pixels: time.sleep(0.3)
    runner = system.new_runner(Watchdog(soft_seconds=1.0, hard_seconds=60.0))
    job = system.array_job(range(6), batch_size=6)
    runner.run(PredictBatch(job=job.id, batch=0))
    assert system.outcomes(job) == ["done"], "1.8 s in steps of 0.3 s"

    def hang(pixels: Pixels) -> None:
        if pixels[0, 0, 0, 0] == 3:
            time.sleep(30)

    system.predictor.before = hang
    other = system.array_job(range(6), batch_size=6, id="other")
    began = time.monotonic()
    assert runner.run(PredictBatch(job="other", batch=0)) == {"failed": "time limit"}
    assert 0.9 < time.monotonic() - began < 5
    assert system.outcomes(other) == ["timeout"]


def test_the_speed_of_a_model_is_told_as_measured(system: System) -> None:
    system.run(system.array_job(range(6), id="quick"))
    assert system.speeds == [], "too short to say anything"
    system.predictor.before = lambda pixels: time.sleep(0.3)
    system.run(system.array_job(range(6), batch_size=6, id="slow"))
    ((sha256, speed),) = system.speeds
    assert sha256 == system.version.pin.sha256
    assert 6 / 3 < speed < 6 / 0.3


def test_a_long_batch_ends_soon_after_its_job_is_cancelled(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.batches.progress.LOOK_SECONDS", 0.0)
    system.predictor.chunk = 1
    job = system.array_job(range(100), batch_size=100)

    def cancel(pixels: Pixels) -> None:
        if pixels[0, 0, 0, 0] == 3:
            system.jobs.of(job).stop(Status.CANCELLED, "nobody wants it")

    system.predictor.before = cancel
    assert system.run(job) == {"skipped": "its job was stopped"}
    assert len(system.predictor.calls) == 4
    assert system.outcomes(job) == ["interrupted"]
    assert not system.jobs.of(job).results.has(0)


# Quarantine


@pytest.mark.parametrize("deadly", [[0], [3], [7], [2, 5], [0, 1], [6, 7]])
def test_exactly_the_images_that_kill_become_records(system: System, deadly: list[int]) -> None:
    firsts = [DEADLY if i in deadly else i for i in range(8)]
    job = system.array_job(firsts, batch_size=8)
    deaths = system.run_to_the_end(job)
    assert deaths == SUSPECT_AFTER + CONVICTED_AFTER * len(deadly)
    result = system.jobs.of(job).results.read(0)
    assert sorted(result.errors) == deadly
    assert all("kills the worker" in reason for reason in result.errors.values())
    assert [p for i, p in enumerate(result.predictions) if i not in deadly] == [
        i % 3 for i in range(8) if i not in deadly
    ]


def test_an_image_that_takes_too_long_becomes_a_record_as_well(system: System) -> None:
    def exceed(pixels: Pixels) -> None:
        if (pixels[:, 0, 0, 0] == 5).any():
            raise StepTooLong

    system.predictor.before = exceed
    job = system.array_job(range(8), batch_size=8)
    while not system.jobs.of(job).results.has(0):
        system.run(job)
    result = system.jobs.of(job).results.read(0)
    assert list(result.errors) == [5]
    assert "exceeds the time limit" in result.errors[5]


def test_a_worker_that_dies_once_costs_nothing_but_the_attempt(system: System) -> None:
    def die(pixels: Pixels) -> None:
        system.predictor.before = lambda pixels: None
        raise Death

    system.predictor.before = die
    job = system.array_job(range(4))
    assert system.run_to_the_end(job) == 1
    assert system.predictions(job) == [0, 1, 2, 0]
    assert {len(call) for call in system.predictor.calls} == {4}, "no walk"


def test_worker_deaths_at_innocent_images_leave_no_record(system: System) -> None:
    """Two deaths make the batch suspect, and two more hit the walk at the same innocent image."""
    fates = iter([True, True, True, True])

    def die(pixels: Pixels) -> None:
        if next(fates, False):
            raise Death

    system.predictor.before = die
    job = system.array_job(range(4))
    assert system.run_to_the_end(job) == 4
    result = system.jobs.of(job).results.read(0)
    assert not result.errors
    assert result.predictions.tolist() == [0, 1, 2, 0]


def test_bad_images_survive_the_walk_as_records_of_their_own(system: System) -> None:
    images = images_of([1, 2, DEADLY, 4])
    contents = [encode(image) for image in images]
    contents[1] = b"no image"
    job = file_job(system.jobs, [image_file(c) for c in contents], model=system.version.pin)
    system.run_to_the_end(job)
    errors = system.jobs.of(job).results.read(0).errors
    assert "not an image" in errors[1]
    assert "kills the worker" in errors[2]
    assert sorted(errors) == [1, 2]


# Storage that is away


def go_away(folder: Path, how: str) -> None:
    """As by `umount`: the folder is gone, or what the mount had hidden lies there, empty."""
    folder.rename(folder.with_name(f"{folder.name}.away"))
    if how != "missing":
        folder.mkdir()
        os.utime(folder, (0, 0))
    if how == "lost+found":
        (folder / "lost+found").mkdir()
        os.utime(folder, (0, 0))


def come_back(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.with_name(f"{folder.name}.away").rename(folder)


@pytest.mark.parametrize("how", ["missing", "empty", "lost+found"])
@pytest.mark.parametrize("what", ["all", "jobs", "models", "datasets"])
@pytest.mark.parametrize("when", ["before", "during"])
def test_storage_that_is_away_fails_no_job_and_the_batch_goes_back(
    tmp_path: Path, what: str, how: str, when: str
) -> None:
    system = System(tmp_path / "storage")
    (system.jobs.root / "datasets").mkdir()
    job = system.array_job(range(10))
    images = system.jobs.root / "datasets" / "images.npy"
    shutil.copy2(system.jobs.root / "images.npy", images)
    inputs = job.inputs.model_copy(update={"images": "datasets/images.npy"})
    described = job.model_copy(update={"inputs": inputs}).model_dump_json()
    (system.jobs.path("job") / "job.json").write_text(described)
    folder = system.jobs.root if what == "all" else system.jobs.root / what

    away = folder.with_name(f"{folder.name}.away")

    def load(version: Any) -> Any:
        if when == "during" and not away.exists():
            go_away(folder, how)
        if what in ("all", "models"):
            raise ModelRefused("The model cannot be loaded: No such file or directory")
        return system.predictor

    if when == "before":
        go_away(folder, how)
    system.load = load
    for _ in range(HOPELESS_ERRORS + 1):
        system.runner = system.new_runner()
        with pytest.raises(StorageAway):
            system.run(job)
    if how == "missing":
        assert not folder.exists(), "nothing is created where storage belongs"
    come_back(folder)
    assert system.jobs.of(job).stopped() is None
    assert system.sent == []
    system.load = loader_of(system.predictor)
    system.runner = system.new_runner()
    system.run(job)
    assert system.predictions(job) == [0, 1, 2, 0]
    history = system.jobs.of(job).attempts.history(0, 15)
    assert (history.errors, history.deaths, history.timeouts) == (0, 0, 0)


def test_storage_that_comes_back_between_two_looks_fails_no_job(system: System) -> None:
    refusals = [ModelRefused("No such file or directory")]

    def load(version: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return system.predictor

    system.load = load
    system.runner = system.new_runner()
    job = system.array_job(range(4))
    system.run(job)
    assert system.predictions(job) == [0, 1, 2, 0]


def test_a_job_is_known_to_be_gone_only_where_there_are_others(system: System) -> None:
    job = system.array_job(range(4))
    with pytest.raises(NotFound):
        system.runner.run(PredictBatch(job="other", batch=0))
    system.jobs.remove(job.id)
    with pytest.raises(StorageAway, match="jobs is missing or empty here"):
        system.run(job)


def test_on_another_storage_than_before_nothing_is_known_to_be_gone(tmp_path: Path) -> None:
    system = System(tmp_path / "storage")
    job = system.array_job(range(10))
    storage_id(system.jobs.root)
    system.run(job)
    system.jobs.root.rename(tmp_path / "away")
    other = System(tmp_path / "storage")
    other.array_job([0], id="other")
    storage_id(other.jobs.root)
    with pytest.raises(StorageAway, match="Another folder lies at"):
        system.run(job, 1)
    system.runner.run(PredictBatch(job="other", batch=0))
    with pytest.raises(NotFound):
        system.run(job, 1)


def test_images_that_are_gone_fail_the_job(system: System) -> None:
    job = system.array_job(range(4))
    (system.jobs.root / "images.npy").unlink()
    system.run(job)
    assert "are gone" in stop_of(system, job)[1]


# A broker that is away


@pytest.mark.parametrize(
    "error", [redis.ConnectionError("gone"), OperationalError("gone"), OSError("gone")]
)
@pytest.mark.parametrize("where", ["send", "notify"])
def test_a_broker_that_is_away_costs_no_result(
    tmp_path: Path, error: Exception, where: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    system = System(tmp_path)
    runner = BatchRunner(
        jobs=JobStore(tmp_path),
        models=ModelCache(ModelStore(tmp_path), system.load),
        reuse=Reuse(ReuseStore(tmp_path), 1_000_000),
        settings=StorageSettings(),
        send=fail if where == "send" else lambda message: None,
        notify=fail if where == "notify" else lambda job_id, fields: None,
    )
    job = system.array_job(range(10))
    assert runner.run(PredictBatch(job=job.id, batch=0))["images"] == 4
    assert system.predictions(job) == [0, 1, 2, 0]
