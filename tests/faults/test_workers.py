"""Workers die, stall and lose their connection; the predictions file stays the same to the byte."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from messaging.app import make_app
from messaging.messages import PredictBatch
from messaging.settings import BrokerSettings
from storage.jobs.attempts import read_events
from tests.faults.conftest import (
    BATCHES,
    IMAGES,
    House,
    submit_and_crash_before_sending,
)
from tests.faults.images import HANGER, KILLER
from tests.processes import run, wait_for

SLOW = 0.3


def assert_exact(house: House, undisturbed: bytes) -> None:
    """Every image has exactly one record, and all are as in an undisturbed run."""
    summary = house.follow()
    assert summary["status"] == "completed"
    assert summary["images"] == {"total": IMAGES, "predicted": IMAGES, "failed": 0}
    assert house.predictions() == undisturbed


def test_a_child_killed_in_the_middle_of_a_batch(house: House, undisturbed: bytes) -> None:
    worker = house.worker(concurrency=2, seconds_per_call=SLOW)
    house.submit()
    house.wait_until_done(4)
    os.kill(worker.children()[0], signal.SIGKILL)
    assert_exact(house, undisturbed)
    assert worker.running


def test_the_whole_worker_killed_is_replaced_in_well_under_90_seconds(
    house: House, undisturbed: bytes
) -> None:
    victim = house.worker("victim", concurrency=2, seconds_per_call=SLOW)
    heir = house.worker("heir", seconds_per_call=0)
    os.kill(heir.pid, signal.SIGSTOP)
    house.submit()
    house.wait_until_done(4)
    victim.kill()
    os.kill(heir.pid, signal.SIGCONT)
    began = time.monotonic()
    assert_exact(house, undisturbed)
    assert time.monotonic() - began < 60


def test_a_message_lost_between_taking_and_recording_it(house: House, undisturbed: bytes) -> None:
    """Redis hands the message to the stopped worker's pending BRPOP, and it dies with it."""
    submit_and_crash_before_sending(house)
    app = make_app("test", settings=BrokerSettings(redis_url=house.redis.url))
    client = house.redis.client()
    victim = house.worker("victim")
    for _ in range(50):
        os.kill(victim.pid, signal.SIGSTOP)
        PredictBatch(job="job", batch=0).send(app)
        if client.llen("predict") == 0:
            break
        client.delete("predict")  # the BRPOP had just run out: try again
        os.kill(victim.pid, signal.SIGCONT)
        time.sleep(0.2)
    assert client.llen("predict") == client.hlen("unacked.worker") == 0
    victim.kill()
    house.worker("heir")
    assert house.done() == 0
    assert_exact(house, undisturbed)


def test_connections_reset_while_batches_run(house: House, undisturbed: bytes) -> None:
    worker = house.worker(concurrency=2, seconds_per_call=SLOW)
    house.submit()
    client = house.redis.client()
    for batches in (2, 8, 14):
        house.wait_until_done(batches)
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert_exact(house, undisturbed)
    assert worker.running


def test_a_worker_paused_beyond_its_lease_writes_the_same_bytes_late(
    house: House, undisturbed: bytes
) -> None:
    paused = house.worker("paused", concurrency=2, seconds_per_call=SLOW)
    house.submit()
    house.wait_until_done(2)
    stopped = [paused.pid, *paused.children()]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    house.worker("other")
    assert_exact(house, undisturbed)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    time.sleep(3)
    assert house.predictions() == undisturbed
    assert not (house.jobs.path("job") / "conflicts").exists()


def test_a_death_between_result_and_acknowledgement(house: House, undisturbed: bytes) -> None:
    trigger = house.folder / "die"
    house.worker(seconds_per_call=SLOW / 3, die_before_ring=trigger)
    house.submit()
    house.wait_until_done(5)
    trigger.touch()
    assert_exact(house, undisturbed)
    assert not trigger.exists()


def test_a_batch_that_outlasts_the_visibility_timeout_runs_once(house: House) -> None:
    workers = [
        house.worker(name, seconds_per_call=9, visibility_seconds=2) for name in ("one", "two")
    ]
    house.submit("--batch-size", str(IMAGES))
    assert house.follow()["status"] == "completed"
    house.run_undisturbed(house.storage / "arrays" / "images.npy", "--batch-size", str(IMAGES))
    assert house.predictions() == house.predictions("reference")
    log = house.jobs.open("job").attempts.path(0).read_text()
    assert log.count('"start"') == 1
    assert sum(w.log.count("another worker runs it") for w in workers) > 0


def test_a_stopping_worker_finishes_its_batch_and_gives_back_the_rest(
    house: House, undisturbed: bytes
) -> None:
    first = house.worker("first", concurrency=2, seconds_per_call=1)
    job = house.submit()
    house.wait_until_done(2)
    time.sleep(0.4)  # into the middle of the next two
    began = time.monotonic()
    assert first.terminate() == 0
    assert time.monotonic() - began < 20
    attempts = house.jobs.path("job") / "attempts"
    for log in attempts.glob("*.jsonl"):
        assert '"outcome": "done"' in log.read_text()
    assert len(list(attempts.glob("*.jsonl"))) == len(house.jobs.of(job).results.done())
    client = house.redis.client()
    assert client.llen("predict") == BATCHES - len(house.jobs.of(job).results.done())
    assert client.hlen("unacked.worker") == 0
    house.worker("second")
    assert_exact(house, undisturbed)


def test_a_stopping_worker_gives_back_a_batch_that_does_not_end_in_time(
    house: House, undisturbed: bytes
) -> None:
    house.environment["BATCHSIGHT_SHUTDOWN_SECONDS"] = "3"
    first = house.worker("first", seconds_per_call=30)
    house.submit()
    attempts = house.jobs.path("job") / "attempts"
    wait_for(lambda: any(attempts.glob("*.jsonl")), "a batch has begun")
    began = time.monotonic()
    assert first.terminate() == 0
    assert time.monotonic() - began < 20
    assert house.done() == 0
    assert house.redis.client().llen("predict") == BATCHES
    house.worker("second")
    assert_exact(house, undisturbed)


def mark_one_image(house: House, count: int, position: int, value: int) -> Path:
    """Make the job `count` images long, one of them harmful; returns the same without harm."""
    path = house.storage / "arrays" / "images.npy"
    images = np.resize(np.load(path), (count, 8, 8))
    harmless = path.with_name("harmless.npy")
    np.save(harmless, images)
    images[position] = value
    np.save(path, images)
    return harmless


def assert_only_one_failed(house: House, harmless: Path, failed: str) -> None:
    """All images but one have the records, to the bit, that they have without the harmful one."""
    house.run_undisturbed(harmless)
    found, wanted = house.records(), house.records("reference")
    prediction, score, *_ = found.pop(failed)
    assert prediction is None
    assert score is None
    del wanted[failed]
    assert found == wanted


def test_one_killer_among_ten_thousand_images_becomes_the_only_error(house: House) -> None:
    harmless = mark_one_image(house, 10_000, 1234, KILLER)
    worker = house.worker(concurrency=2)
    house.submit()
    summary = house.follow(240, code=3)
    assert summary["images"] == {"total": 10_000, "predicted": 9_999, "failed": 1}
    errors = (house.jobs.path("job") / "errors.jsonl").read_text().splitlines()
    assert len(errors) == 1
    assert '"1234"' in errors[0]
    assert "kills the worker" in errors[0]
    assert worker.running
    assert_only_one_failed(house, harmless, "1234")


def test_a_batch_that_moves_may_take_longer_than_any_limit_and_is_cancelled_within_seconds(
    house: House,
) -> None:
    """As that of a slow model: each step of a batch is short, and all together are not."""
    house.environment |= {
        "BATCHSIGHT_SOFT_TIME_LIMIT_SECONDS": "2",
        "BATCHSIGHT_TIME_LIMIT_SECONDS": "3",
    }
    worker = house.worker(concurrency=2, seconds_per_call=0.5, chunk=20)
    images = house.storage / "arrays" / "few.npy"
    np.save(images, np.load(house.storage / "arrays" / "images.npy")[:800])
    house.submit(source=str(images))
    summary = house.follow(120)
    assert summary["images"] == {"total": 800, "predicted": 800, "failed": 0}
    log = read_events(house.jobs.open("job").attempts.path(0))
    ends = [event for event in log if event["event"] in ("start", "end")]
    assert [event.get("outcome") for event in ends] == [None, "done"]
    assert log[-1]["seconds"] > 4, "a batch has taken longer than the limits"

    arguments = ["--model", "digits", "--batch-size", "800", "--job-id", "long", "--no-wait"]
    run(house.environment, "producer", "submit", str(images), *arguments)
    path = house.jobs.open("long").attempts.path(0)
    wait_for(path.exists, "the batch is running")
    run(house.environment, "producer", "cancel", "long")
    began = time.monotonic()
    wait_for(lambda: read_events(path)[-1].get("outcome") == "interrupted", "it has ended")
    assert time.monotonic() - began < 5
    assert worker.running


def test_an_image_that_hangs_beyond_the_hard_time_limit_becomes_the_only_error(
    house: House,
) -> None:
    harmless = mark_one_image(house, 1000, 777, HANGER)
    house.environment |= {
        "BATCHSIGHT_SOFT_TIME_LIMIT_SECONDS": "5",
        "BATCHSIGHT_TIME_LIMIT_SECONDS": "6",
    }
    worker = house.worker(concurrency=2)
    house.submit()
    summary = house.follow(240, code=3)
    assert summary["images"] == {"total": 1000, "predicted": 999, "failed": 1}
    assert worker.running
    assert_only_one_failed(house, harmless, "777")


def test_a_worker_ends_although_a_child_never_does(house: House) -> None:
    house.environment["BATCHSIGHT_SHUTDOWN_SECONDS"] = "2"
    worker = house.worker()
    os.kill(worker.children()[0], signal.SIGSTOP)
    worker.terminate(seconds=20)
    assert "A process that does not end is killed." in worker.log
