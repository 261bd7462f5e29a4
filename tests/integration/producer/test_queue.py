"""The producer as a real process on a real Redis; the worker is a thread without TensorFlow."""

import base64
import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dispatch.predict_queue import RedisQueue
from messaging.errors import BrokerUnavailable
from messaging.messages import PredictBatch
from messaging.notifications import Notifications
from messaging.settings import PREDICT_QUEUE, PREDICT_QUEUES, BrokerSettings
from storage.datasets.store import DatasetStore
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import LABELS, SHAPE, encode, images_of, publish
from tests.fake_queue import FakeWorker
from tests.processes import RedisServer, run, start, wait_for


class Thread:
    """Takes messages off the queue as Celery does, answers them and notifies."""

    def __init__(self, server: RedisServer, root: Path) -> None:
        self.worker = FakeWorker(JobStore(root))
        self.taken: list[PredictBatch] = []
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Thread":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        client = self._server.client()
        while not self._stop.is_set():
            item: Any = client.blpop([*PREDICT_QUEUES], timeout=0.2)
            if item is None:
                continue
            body = json.loads(base64.b64decode(json.loads(item[1])["body"]))
            message = PredictBatch.from_wire(body[1])
            self.taken.append(message)
            self.worker(message)
            Notifications(client, message.job).notify(event="batch")
        client.close()


@dataclass
class House:
    """A storage root with the data set and the model `digits`, and a Redis of its own."""

    server: RedisServer
    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment |= {
            "BATCHSIGHT_STORAGE": str(self.root),
            "BATCHSIGHT_REDIS_URL": self.server.url,
            "BATCHSIGHT_LEASE_SECONDS": "1",
        }
        self.jobs = JobStore(self.root)
        datasets = DatasetStore(self.root)
        with datasets.draft(SHAPE) as draft:
            images, labels = draft.add_split("test", 60)
            images[:], labels[:] = images_of(range(60)), np.arange(60) % 3
            datasets.commit(draft, "digits", LABELS, "here")
        models = ModelStore(self.root)
        models.promote(publish(models))

    def thread(self) -> Thread:
        return Thread(self.server, self.root)

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return run(
            {**self.environment, **environment}, "producer", *arguments, check=False, seconds=60
        )

    def submit(self, *options: str) -> "subprocess.CompletedProcess[str]":
        return self.run("submit", "digits:test", "--job-id", "job", "--batch-size", "5", *options)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return start(self.environment, "producer", *arguments)

    def ids(self) -> list[str]:
        table = pq.read_table(self.jobs.path("job") / "predictions.parquet")
        ids: list[str] = table["id"].to_pylist()
        return ids


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    server = RedisServer(tmp_path / "redis")
    yield House(server, tmp_path / "storage")
    server.kill()


def assert_sentence(done: "subprocess.CompletedProcess[str]", sentence: str) -> None:
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert sentence in lines[0]


# The queue


def test_what_was_sent_waits_in_the_queue_under_its_key(house: House) -> None:
    queue = RedisQueue(BrokerSettings(redis_url=house.server.url))
    queue.send([PredictBatch(job="a", batch=0), PredictBatch(job="a.1", batch=12)])
    queue.send([PredictBatch(job="b", batch=1, runtime="tensorflow")])
    assert queue.waiting() == {"a.0", "a.1.12", "b.1"}
    with house.server.client() as client:
        assert [client.llen(name) for name in PREDICT_QUEUES] == [2, 1]
    assert queue.in_hand(PREDICT_QUEUE) is None


def test_listening_hears_a_ring_and_the_quiet(house: House) -> None:
    queue = RedisQueue(BrokerSettings(redis_url=house.server.url))
    with house.server.client() as client:
        Notifications(client, "a").notify(event="batch")
    heard = queue.listen("a", wait_seconds=0.01)
    assert [next(heard), next(heard)] == [True, False]


def test_a_queue_on_a_closed_port_is_unavailable_in_every_respect() -> None:
    queue = RedisQueue(BrokerSettings(redis_url="redis://127.0.0.1:1/0"))
    for use in (
        queue.check,
        lambda: queue.send([PredictBatch(job="a", batch=0)]),
        queue.waiting,
        lambda: next(queue.listen("a", 0.01)),
        lambda: queue.in_hand(PREDICT_QUEUE),
    ):
        with pytest.raises(
            BrokerUnavailable, match=r"No Redis answers at redis://127\.0\.0\.1:1/0"
        ):
            use()


# A job


def test_submit_and_follow_give_exactly_one_record_per_image(house: House) -> None:
    with house.thread():
        done = house.submit("--json", "--max-in-flight", "3")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == {"total": 60, "predicted": 60, "failed": 0}
    assert house.ids() == [str(i) for i in range(60)]


def test_a_folder_with_bad_files_gives_one_record_per_image_and_exit_code_3(
    house: House, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(20):
        (folder / f"{i:02d}.png").write_bytes(encode(images_of([i])[0]))
    (folder / "07.png").write_bytes(b"no image")
    with house.thread() as thread:
        thread.worker.errors = {7: "not an image"}
        done = house.run("submit", str(folder), "--job-id", "job", "--json")
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["images"] == {"total": 20, "predicted": 19, "failed": 1}
    assert house.ids() == [f"{i:02d}.png" for i in range(20)]
    error = json.loads((house.jobs.path("job") / "errors.jsonl").read_text())
    assert (error["id"], error["reason"]) == ("07.png", "not an image")


def test_lost_messages_are_sent_again_by_whoever_follows(house: House) -> None:
    assert house.submit("--no-wait").stdout == "job\n"
    with house.server.client() as client:
        client.flushall()
    with house.thread():
        done = house.run("status", "job", "--follow", "--json")
    assert done.returncode == 0
    assert "12 batches of job job had got lost and were sent again." in done.stderr
    assert house.ids() == [str(i) for i in range(60)]


def test_messages_that_wait_are_not_sent_again(house: House) -> None:
    house.submit("--no-wait")
    following = house.start("status", "job", "--follow", "--json")
    try:
        with house.server.client() as client:
            with pytest.raises(subprocess.TimeoutExpired):
                following.wait(6)  # several leases long
            assert sum(map(client.llen, PREDICT_QUEUES)) == 12
        with house.thread() as thread:
            assert following.wait(30) == 0
        assert sorted(message.batch for message in thread.taken) == list(range(12))
    finally:
        following.kill()
        following.communicate()


def test_a_redis_that_comes_back_empty_costs_time_and_no_image(house: House) -> None:
    house.submit("--no-wait")
    following = house.start("status", "job", "--follow", "--json")
    try:
        house.server.kill()
        assert following.stderr is not None
        line = following.stderr.readline()
        assert "The job waits meanwhile; nothing of it is lost." in line
        house.server.start()
        with house.thread():
            stdout, _ = following.communicate(timeout=60)
        assert following.returncode == 0
        assert json.loads(stdout)["status"] == "completed"
        assert house.ids() == [str(i) for i in range(60)]
    finally:
        following.kill()


def test_ctrl_c_leaves_the_job_and_says_how_to_return(house: House) -> None:
    waiting = house.start("submit", "digits:test", "--job-id", "job")
    assert waiting.stderr is not None
    assert waiting.stderr.readline().startswith("Job job: 60 images")
    wait_for(lambda: listens(house), "the producer listens")
    waiting.send_signal(signal.SIGINT)
    stdout, stderr = waiting.communicate(timeout=20)
    assert (waiting.returncode, stdout) == (130, "")
    assert stderr == "Job job goes on: `producer status job --follow` returns to it.\n"
    with house.thread():
        assert house.run("status", "job", "--follow").returncode == 0


def listens(house: House) -> bool:
    """Whether anybody waits for notifications."""
    with house.server.client() as client:
        return any(one["cmd"] == "xread" for one in client.client_list())


def test_a_cancelled_job_ends_for_its_follower_and_can_be_taken_up_again(house: House) -> None:
    house.submit("--no-wait")
    following = house.start("status", "job", "--follow", "--json")
    wait_for(lambda: listens(house), "the producer listens")
    assert house.run("cancel", "job").returncode == 0
    stdout, _ = following.communicate(timeout=20)
    assert (following.returncode, json.loads(stdout)["status"]) == (1, "cancelled")
    with house.thread():
        assert house.run("resume", "job", "--json").returncode == 0
    assert house.ids() == [str(i) for i in range(60)]


def test_verify_lists_what_is_wrong_on_stdout_and_resume_mends_it(house: House) -> None:
    with house.thread():
        house.submit()
        assert house.run("verify", "job").returncode == 0
        (house.jobs.path("job") / "results" / "000003.npz").write_bytes(b"torn")
        faulty = house.run("verify", "job")
        assert faulty.returncode == 5
        assert len(faulty.stdout.splitlines()) == 1
        assert "000003.npz is damaged" in faulty.stdout
        assert house.run("resume", "job").returncode == 0
    assert house.run("verify", "job").returncode == 0
    assert house.ids() == [str(i) for i in range(60)]


# A Redis that refuses


def test_a_wrong_password_is_a_sentence_that_does_not_tell_it(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis", "--requirepass", "right-secret")
    try:
        house = House(server, tmp_path / "storage")
        assert_sentence(house.submit(), "refuses the password: check BATCHSIGHT_REDIS_URL")
        wrong = house.run("submit", "digits:test", BATCHSIGHT_REDIS_PASSWORD="wrong-secret")
        assert_sentence(wrong, "refuses the password")
        assert "secret" not in wrong.stderr
        right = house.run(
            "submit", "digits:test", "--no-wait", BATCHSIGHT_REDIS_PASSWORD="right-secret"
        )
        assert right.returncode == 0, right.stderr
    finally:
        server.kill()


def test_a_redis_at_its_memory_limit_is_waited_for_and_that_is_said(house: House) -> None:
    with house.server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "100kb")
        refused = house.submit("--no-wait")
        assert refused.returncode == 1
        assert "is at its memory limit and takes no more messages" in refused.stderr
        waiting = house.start("submit", "digits:test", "--job-id", "second", "--json")
        try:
            assert waiting.stderr is not None
            assert waiting.stderr.readline().startswith("Job second: 60 images")
            assert "is at its memory limit" in waiting.stderr.readline()
            client.config_set("maxmemory", "0")
            with house.thread():
                stdout, _ = waiting.communicate(timeout=60)
            assert json.loads(stdout)["status"] == "completed"
        finally:
            waiting.kill()
