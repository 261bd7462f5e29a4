"""Scheduled trainings on a real Redis: beat killed, beat twice, a trainer that wakes up late."""

import json
import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from storage.models.store import ModelStore
from tests.faults.conftest import House
from tests.processes import Program, run, wait_for
from trainer.queue.schedule import RETRAIN, SCHEDULE_FILE, Memory

SCHEDULED = {
    "BATCHSIGHT_RETRAIN_SCHEDULE": "* * * * *",
    "BATCHSIGHT_RETRAIN_DATASET": "digits",
    "BATCHSIGHT_SWEEP_SECONDS": "3600",
}


def start(house: House, name: str, *arguments: str, app: str = "trainer", **extra: str) -> Program:
    command = [sys.executable, "-m", "celery", "-A", app, *arguments, "-l", "INFO"]
    program = Program(command, house.folder / f"{name}.log", {**house.environment, **extra})
    house.programs.append(program)
    return program


def start_beat(house: House, name: str = "beat", **extra: str) -> Program:
    schedule = {**SCHEDULED, **extra}
    program = start(house, name, "beat", "--pidfile=", **schedule)
    program.wait_for_log("beat: Starting")
    return program


def start_trainer(house: House, name: str = "trainer", app: str = "trainer") -> Program:
    program = start(house, name, "worker", "-n", f"{name}@%h", app=app)
    program.wait_for_log("ready.")
    return program


def versions(house: House) -> list[int]:
    return ModelStore(house.storage).numbers("digits")


def waiting(house: House) -> list[dict[str, Any]]:
    """The trainings in the queue, as they lie in Redis."""
    return [json.loads(message) for message in house.redis.client().lrange("train", 0, -1)]


def told(house: House) -> dict[str, Any]:
    environment = {**house.environment, **SCHEDULED}
    line: dict[str, Any] = json.loads(run(environment, "trainer", "schedule", "--json").stdout)
    return line


def seconds_to_next_minute() -> float:
    return 60 - time.time() % 60


def test_a_beat_killed_across_due_times_catches_up_with_one_training(house: House) -> None:
    if seconds_to_next_minute() < 15:  # so that nothing is due while it starts
        time.sleep(seconds_to_next_minute() + 1)
    beat = start_beat(house)
    wait_for(lambda: (house.storage / SCHEDULE_FILE).exists(), "beat has begun")
    beat.kill()
    assert waiting(house) == []
    # As if it had been dead for three minutes: the file is all that a beat goes by.
    path = house.storage / SCHEDULE_FILE
    memory = Memory.read(path).root
    dead_since = datetime.now(UTC) - timedelta(minutes=3, seconds=10)
    entry = memory[RETRAIN].model_copy(update={"last_run_at": dead_since})
    Memory({**memory, RETRAIN: entry}).write(path)
    assert told(house)["missed"]

    if seconds_to_next_minute() < 30:
        time.sleep(seconds_to_next_minute() + 1)
    beat = start_beat(house)
    beat.wait_for_log("Sending due task retrain")
    beat.kill()  # again, before or after it has written down what it sends
    third = start_beat(house, "third")
    time.sleep(8)
    assert seconds_to_next_minute() > 5, "the machine was too slow for this test"
    third.kill()
    sent = len(waiting(house))
    assert sent in (1, 2)
    line = told(house)
    assert not line["missed"]
    assert line["last_sent_at"]

    trainer = start_trainer(house)
    wait_for(lambda: trainer.log.count("succeeded in") == sent, "all messages are done", 120)
    assert versions(house) == [1, 2]
    assert ModelStore(house.storage).version("digits", 2).manifest.fencing_token > 0


def test_two_beats_come_to_one_training(house: House) -> None:
    # A beat on another machine has a schedule file of its own.
    (house.folder / "other").mkdir()
    start_beat(house)
    other = ("beat", "--pidfile=", "-s", str(house.folder / "other" / "schedule.json"))
    start(house, "other", *other, **SCHEDULED).wait_for_log("beat: Starting")
    wait_for(lambda: len(waiting(house)) == 2, "both send at the full minute", 90)
    for program in house.programs:
        program.kill()
    trainer = start_trainer(house)
    trainer.wait_for_log("was trained meanwhile")
    assert versions(house) == [1, 2]
    wait_for(lambda: trainer.log.count("succeeded in") == 2, "both messages are done")


def test_a_trainer_that_wakes_up_late_does_not_replace_a_newer_champion(house: House) -> None:
    app = "tests.faults.impatient_trainer"
    late = start_trainer(house, "late", app=app)
    send(house, "first")
    wait_for(lambda: bool(house.redis.client().keys("batchsight:lock:*")), "the lock is held")
    os.killpg(late.pid, signal.SIGSTOP)
    assert versions(house) == [1], "the trainer was too quick to be paused"
    wait_for(lambda: not house.redis.client().keys("batchsight:lock:*"), "the lock has run out", 20)
    start_trainer(house, "quick", app=app)
    send(house, "second")
    store = ModelStore(house.storage)

    def champion() -> int:
        found = store.champion("digits")
        return found.number if found else 0

    wait_for(lambda: champion() == 2, "the second training is published", 120)
    os.killpg(late.pid, signal.SIGCONT)
    wait_for(lambda: versions(house) == [1, 2, 3], "the late one publishes as well", 120)
    late.wait_for_log("overtaken run")
    assert champion() == 2
    assert (
        store.version("digits", 3).manifest.fencing_token
        < store.version("digits", 2).manifest.fencing_token
    )


def send(house: House, run_name: str) -> None:
    """Put a training on the queue and go on."""
    code = (
        "import sys; from messaging.app import make_app; from trainer.training.train import *; "
        "request = TrainingRequest.with_defaults(dataset='digits', network='mlp'); "
        "request.to_message(sys.argv[1]).send(make_app('test'))"
    )
    command = [sys.executable, "-c", code, run_name]
    program = Program(command, Path(house.folder / "send.log"), house.environment)
    house.programs.append(program)
    wait_for(lambda: not program.running, "it is sent")
    assert "Error" not in program.log, program.log
