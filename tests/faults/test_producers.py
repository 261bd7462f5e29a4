"""The producer dies or is stopped; the job goes on and can be taken up again."""

import json
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from storage.errors import StorageError
from storage.jobs.job import Status
from tests.faults.conftest import BATCHES, House, submit_and_crash_before_sending
from tests.faults.test_workers import SLOW, assert_exact
from tests.processes import Program, run, wait_for


def test_a_producer_killed_while_waiting_costs_the_job_nothing(
    house: House, undisturbed: bytes
) -> None:
    house.worker(seconds_per_call=SLOW)
    images = str(house.storage / "arrays" / "images.npy")
    options = ["--model", "digits", "--batch-size", "200", "--job-id", "job"]
    producer = house.popen("producer", "submit", images, *options)
    wait_for(lambda: house.jobs.path("job").exists(), "the job exists")
    house.wait_until_done(3)
    producer.kill()
    producer.communicate()
    assert_exact(house, undisturbed)


def test_ctrl_c_in_a_waiting_producer_leaves_the_job_running(
    house: House, undisturbed: bytes
) -> None:
    house.worker(seconds_per_call=SLOW)
    images = str(house.storage / "arrays" / "images.npy")
    options = ["--model", "digits", "--batch-size", "200", "--job-id", "job"]
    producer = house.popen("producer", "submit", images, *options)
    wait_for(lambda: house.jobs.path("job").exists(), "the job exists")
    house.wait_until_done(2)
    producer.send_signal(signal.SIGINT)
    _, errors = producer.communicate(timeout=20)
    assert producer.returncode == 130
    assert "producer status job --follow" in errors
    assert "Traceback" not in errors
    assert_exact(house, undisturbed)


def test_a_crash_between_inputs_and_messages_is_resumed_by_hand(
    house: House, undisturbed: bytes
) -> None:
    submit_and_crash_before_sending(house)
    house.worker()
    run(house.environment, "producer", "resume", "job", "--no-wait")
    assert_exact(house, undisturbed)


def test_a_job_that_nobody_watches_ends_by_the_sweep(house: House, undisturbed: bytes) -> None:
    submit_and_crash_before_sending(house)
    house.worker()
    environment = {**house.environment, "BATCHSIGHT_SWEEP_SECONDS": "2"}
    command = [sys.executable, "-m", "celery", "-A", "trainer", "beat", "-l", "INFO"]
    house.programs.append(Program(command, house.folder / "beat.log", environment))
    house.wait_until_done(BATCHES, 90)
    assert_exact(house, undisturbed)


def test_a_cancelled_job_stops_within_a_batch_and_keeps_its_results(
    house: House, undisturbed: bytes
) -> None:
    worker = house.worker(seconds_per_call=SLOW)
    house.submit()
    house.wait_until_done(4)
    run(house.environment, "producer", "cancel", "job")
    time.sleep(2 * SLOW + 0.5)
    done = house.done()
    assert 4 <= done < BATCHES
    worker.kill()
    house.worker("next")
    time.sleep(3)
    assert house.done() == done
    status = run(house.environment, "producer", "status", "job", "--json", check=False)
    summary = json.loads(status.stdout)
    assert summary["status"] == "cancelled"
    assert summary["images"]["predicted"] == done * 200
    results = run(house.environment, "producer", "results", "job", check=False)
    assert len(results.stdout.splitlines()) == done * 200 + 1
    run(house.environment, "producer", "resume", "job")
    assert_exact(house, undisturbed)


def test_too_many_bad_images_stop_the_job(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    for i in range(60):
        (folder / f"{i:03d}.png").write_text("no image")
    house.worker()
    source = str(folder)
    command = ("submit", source, "--model", "digits", "--batch-size", "10")
    done = run(
        house.environment,
        *("producer", *command, "--job-id", "job", "--max-failure-rate", "0.2"),
        *("--max-in-flight", "1"),
        check=False,
    )
    assert done.returncode == 4
    assert "--max-failure-rate" in done.stdout + done.stderr
    job = house.jobs.get("job")
    assert house.jobs.of(job).status(house.done()) is Status.FAILED
    assert house.done() == 2


def test_verify_names_every_damage_and_resume_sends_only_what_is_missing(
    house: House, undisturbed: bytes
) -> None:
    worker = house.worker()
    house.submit()
    assert_exact(house, undisturbed)
    good = run(house.environment, "producer", "verify", "job")
    assert good.returncode == 0
    job = house.jobs.get("job")
    torn = house.jobs.of(job).results.path(5)
    whole = torn.read_bytes()
    torn.write_bytes(whole[:100])
    house.jobs.of(job).results.discard(9)
    bad = run(house.environment, "producer", "verify", "job", check=False)
    assert bad.returncode == 5
    report = bad.stdout + bad.stderr
    assert "000005" in report
    assert "9" in report
    with pytest.raises(StorageError):
        house.jobs.of(job).results.read(5)

    torn.write_bytes(whole)
    house.jobs.of(job).results.discard(17)
    ran = worker.log.count("worker.predict[job.")
    run(house.environment, "producer", "resume", "job")
    assert_exact(house, undisturbed)
    assert worker.log.count("received") - worker.log.count("worker.sweep") >= 2
    again = worker.log.count("worker.predict[job.") - ran
    assert again <= 2 * 2 * 2  # two batches, each received and succeeded, a duplicate at most


def test_a_million_images_in_ten_thousand_batches_keep_redis_under_10_mb(house: House) -> None:
    path = house.storage / "arrays" / "million.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (1_000_000, 8, 8)).flush()
    client = house.redis.client()
    before = client.info("memory")["used_memory"]
    job = house.submit("--batch-size", "100", source=str(path))
    assert job.batches == 10_000
    assert client.llen("predict") == job.window
    assert client.info("memory")["used_memory"] - before < 10_000_000
