"""Trainings over a real Redis by a real trainer worker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from messaging.broker import connect, waiting_task_ids
from messaging.errors import BrokerUnavailable
from messaging.notifications import Notifications
from messaging.settings import PREDICT_QUEUE, SWEEP_QUEUE, TRAIN_QUEUE, BrokerSettings
from storage.models.store import ModelStore
from tests.integration.messaging.test_refusals import REFUSE
from tests.processes import Program, RedisServer, run, start, wait_for, worker
from trainer.queue.train_queue import RedisTrainQueue

OPTIONS = ("--dataset", "digits", "--epochs", "2", "--queue")


@pytest.fixture(scope="module")
def environment(
    tmp_path_factory: pytest.TempPathFactory, system: Mapping[str, str]
) -> Iterator[Mapping[str, str]]:
    """The storage of `system` with a Redis of its own, whose queues nobody else looks at."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield {**system, "BATCHSIGHT_REDIS_URL": server.url}
    server.stop()


@pytest.fixture(scope="module")
def trainer(
    tmp_path_factory: pytest.TempPathFactory, environment: Mapping[str, str]
) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("trainer")
    program = worker(folder, environment, app="trainer", name="trainer", concurrency=1)
    program.wait_for_log("ready.")
    yield program
    program.kill()


@pytest.fixture
def broker(environment: Mapping[str, str]) -> BrokerSettings:
    return BrokerSettings(redis_url=environment["BATCHSIGHT_REDIS_URL"])


def queue_training(environment: Mapping[str, str], *options: str) -> "subprocess.Popen[str]":
    return start(environment, "trainer", "train", *OPTIONS, *options)


def test_a_queued_training_shows_its_epochs_and_publishes_a_model(
    environment: Mapping[str, str], trainer: Program
) -> None:
    done = run(environment, "trainer", "train", *OPTIONS, "--name", "queued", "--json")
    summary = json.loads(done.stdout)
    assert summary["model"] == "queued@1"
    assert summary["promoted"] is True
    assert "trains it." in done.stderr
    for epoch in ("epoch 1/2  accuracy", "epoch 2/2  accuracy"):
        assert epoch in done.stderr
    version = ModelStore(Path(environment["BATCHSIGHT_STORAGE"])).resolve("queued")
    version.verify()
    assert version.manifest.accuracy == summary["accuracy"]
    assert version.manifest.fencing_token > 0
    trainer.wait_for_log("'verdict': 'promoted'")  # what Flower shows
    assert "'model': 'queued@1'" in trainer.log


def test_the_trainer_consumes_only_its_own_queue(
    environment: Mapping[str, str], trainer: Program, tmp_path: Path, broker: BrokerSettings
) -> None:
    command = [sys.executable, "-m", "celery", "-A", "trainer", "beat", "-l", "INFO"]
    settings = {**environment, "BATCHSIGHT_SWEEP_SECONDS": "1"}
    beat = Program(command, tmp_path / "beat.log", settings)
    client = connect(broker)
    wait_for(lambda: bool(client.llen(SWEEP_QUEUE)), "beat sends the sweep")
    beat.terminate()
    run(environment, "trainer", "train", *OPTIONS, "--name", "queued")
    assert client.llen(SWEEP_QUEUE)
    assert client.llen(PREDICT_QUEUE) == 0
    assert "worker.sweep" not in trainer.log
    client.delete(SWEEP_QUEUE)


def test_a_training_that_cannot_be_done_says_why(
    environment: Mapping[str, str], trainer: Program
) -> None:
    done = run(environment, "trainer", "train", "--dataset", "none", "--queue", check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: There is no data set 'none'")
    assert done.stdout == ""
    trainer.wait_for_log("There is no data set 'none'")
    assert "Traceback" not in trainer.log


def test_a_message_of_a_stranger_is_dropped(
    environment: Mapping[str, str], trainer: Program, broker: BrokerSettings
) -> None:
    from messaging.app import make_app

    app = make_app("stranger", settings=broker)
    for fields in ({}, {"dataset": "../x"}, {"epochs": -1, "run": "r"}):
        app.send_task("trainer.train", kwargs=fields, queue=TRAIN_QUEUE)
    app.send_task("trainer.train", args=(["x"],), queue=TRAIN_QUEUE)
    trainer.wait_for_log("{'dropped'", 4)
    assert trainer.running


def test_a_second_training_waits_in_the_queue_until_its_turn(
    environment: Mapping[str, str], trainer: Program, broker: BrokerSettings
) -> None:
    started = trainer.log.count("] received")
    first = queue_training(environment, "--name", "one", "--epochs", "30")
    trainer.wait_for_log("] received", started + 1)
    second = queue_training(environment, "--name", "two")
    client = connect(broker)
    wait_for(lambda: len(waiting_task_ids(client, TRAIN_QUEUE)) == 1, "the second one waits")
    # What stays unacknowledged, running or fetched ahead, would be run a second time.
    wait_for(
        lambda: client.hlen("unacked.trainer") == 0, "the first one is acknowledged when it starts"
    )
    time.sleep(1)
    assert len(waiting_task_ids(client, TRAIN_QUEUE)) == 1
    assert client.hlen("unacked.trainer") == 0
    for training in (first, second):
        _, errors = training.communicate(timeout=200)
        assert training.returncode == 0, errors


def test_ctrl_c_leaves_the_training_to_the_trainer(
    environment: Mapping[str, str], trainer: Program
) -> None:
    training = queue_training(environment, "--name", "left")
    assert training.stderr is not None
    for line in training.stderr:
        if "trains it" in line:
            break
    training.send_signal(signal.SIGINT)
    _, errors = training.communicate(timeout=30)
    assert training.returncode == 130
    assert "goes on" in errors
    assert "Traceback" not in errors
    store = ModelStore(Path(environment["BATCHSIGHT_STORAGE"]))
    wait_for(lambda: store.numbers("left") == [1], "the trainer publishes it")


def test_without_redis_there_is_one_sentence(environment: Mapping[str, str]) -> None:
    nowhere = {**environment, "BATCHSIGHT_REDIS_URL": "redis://127.0.0.1:1/0"}
    done = run(nowhere, "trainer", "train", *OPTIONS, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: No Redis answers at redis://127.0.0.1:1/0")


def test_a_training_whose_process_is_killed_is_told_and_the_next_one_runs(
    environment: Mapping[str, str], trainer: Program
) -> None:
    training = queue_training(environment, "--name", "killed", "--epochs", "5000")
    assert training.stderr is not None
    for line in training.stderr:
        if "1/5000" in line:
            break
    for child in trainer.children():
        os.kill(child, signal.SIGKILL)
    _, errors = training.communicate(timeout=20)
    assert training.returncode == 1
    assert errors.splitlines()[-1].startswith("error: The process of the trainer died")
    assert "SIGKILL" in errors
    run(environment, "trainer", "train", *OPTIONS, "--name", "after")
    assert ModelStore(Path(environment["BATCHSIGHT_STORAGE"])).numbers("killed") == []


def test_what_was_heard_before_a_redis_went_away_is_not_heard_again(
    own_redis: RedisServer,
) -> None:
    settings = BrokerSettings(redis_url=own_redis.url)
    queue, notifications = RedisTrainQueue(settings), Notifications(connect(settings), "run")
    notifications.notify(number=1)
    assert next(queue.listen("run")) == [{"number": "1"}]
    own_redis.kill()
    with pytest.raises(BrokerUnavailable):
        next(queue.listen("run"))
    own_redis.start()
    notifications.notify(number=2)
    assert next(queue.listen("run")) == [{"number": "2"}]


@pytest.mark.parametrize("kind", ["READONLY", "OOM"])
def test_a_training_is_not_lost_while_redis_refuses(own_redis: RedisServer, kind: str) -> None:
    """Its trainer answers nobody then."""
    queue = RedisTrainQueue(BrokerSettings(redis_url=own_redis.url))
    REFUSE[kind][0](own_redis.client())
    with pytest.raises(BrokerUnavailable):
        queue.is_running("run")
