"""A Redis that answers and does not do what it is asked: what is said, and what fixes it."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from kombu.exceptions import OperationalError

from dispatch.predict_queue import RedisQueue
from messaging.app import make_app
from messaging.broker import broker_errors, connect, waiting_task_ids
from messaging.errors import BrokerUnavailable
from messaging.lock import hold_lock
from messaging.messages import PredictBatch
from messaging.notifications import RESULT_KEPT_SECONDS, Notifications
from messaging.refusals import REFUSALS, explain, probe
from messaging.settings import BrokerSettings
from producer.doctor.diagnosis import diagnose
from producer.doctor.facts import Facts, gather_facts
from producer.doctor.finding import Outcome
from producer.doctor.settings import DoctorSettings
from storage.settings import StorageSettings
from tests.processes import RedisServer, wait_for
from trainer.queue.schedule import Scheduler, beat_schedule
from trainer.settings import TrainerSettings

Refuse = Callable[["redis.Redis"], object]


def fail_to_save(client: "redis.Redis") -> None:
    """Let a snapshot fail, as it does on a full disk."""
    client.config_set("save", "3600 1")
    client.config_set("dir", "/proc")
    client.bgsave()
    wait_for(
        lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "saving fails", 10
    )


def become_replica(client: "redis.Redis", **settings: str) -> None:
    for name, value in settings.items():
        client.config_set(name.replace("_", "-"), value)
    client.execute_command("REPLICAOF", "127.0.0.1", "1")


REFUSE: dict[str, tuple[Refuse, str, str]] = {
    "READONLY": (become_replica, "is a replica and takes no messages", "replicaof no one"),
    "MASTERDOWN": (
        lambda client: become_replica(client, replica_serve_stale_data="no"),
        "is a replica",
        "replicaof no one",
    ),
    "OOM": (lambda client: client.config_set("maxmemory", "100kb"), "memory limit", "maxmemory"),
    "NOREPLICAS": (
        lambda client: client.config_set("min-replicas-to-write", 1),
        "has fewer replicas",
        "min-replicas-to-write",
    ),
    "MISCONF": (fail_to_save, "cannot write to its disk", "make room"),
    "a replica that may be written to": (
        lambda client: become_replica(client, replica_read_only="no"),
        "",
        "replicaof no one",
    ),
}


def look(server: RedisServer, folder: Path) -> Facts:
    return gather_facts(
        BrokerSettings(redis_url=server.url),
        StorageSettings(storage=folder / "storage"),
        DoctorSettings(flower_url="http://127.0.0.1:1"),
    )


@pytest.mark.parametrize("kind", REFUSE)
def test_a_refusal_is_said_as_it_is_with_its_remedy_by_producer_and_doctor(
    own_redis: RedisServer, tmp_path: Path, kind: str
) -> None:
    refuse, says, remedy = REFUSE[kind]
    refuse(own_redis.client())
    if says:
        queue = RedisQueue(BrokerSettings(redis_url=own_redis.url))
        with pytest.raises(BrokerUnavailable) as refused:
            queue.send([PredictBatch(job="job", batch=0)])
        with pytest.raises(BrokerUnavailable) as probed:
            queue.probe()
        assert str(probed.value) == str(refused.value)
        sentence = str(refused.value)
        assert sentence.startswith(f"Redis at {own_redis.url} ")
        assert says in sentence
        assert remedy in sentence
    finding = next(f for f in diagnose(look(own_redis, tmp_path)) if f.check == "redis")
    assert finding.status is Outcome.FAULT
    assert says in finding.message
    assert remedy.lower() in (finding.remedy or "").lower()


def test_every_word_that_redis_refuses_with_has_its_sentence(own_redis: RedisServer) -> None:
    """Lua scripts can raise any of them."""
    client = connect(BrokerSettings(redis_url=own_redis.url))
    for code, refusal in REFUSALS.items():
        for run in (client.eval, lambda *script: pipelined(client, *script)):
            with pytest.raises(redis.RedisError) as raised:
                run(f"return redis.error_reply('{code} 1 127.0.0.1:1')", 0)
            sentence = explain(raised.value, "redis://here")
            assert sentence == f"Redis at redis://here {refusal.says}: {refusal.remedy}."


def pipelined(client: "redis.Redis", script: str, keys: int) -> None:
    with client.pipeline() as pipeline:
        pipeline.eval(script, keys)
        pipeline.execute()


def test_anything_else_is_no_refusal() -> None:
    for error in (redis.ConnectionError("gone"), redis.ResponseError("ERR no"), OSError(2, "no")):
        assert explain(error) is None


def test_the_probe_leaves_nothing_behind(own_redis: RedisServer) -> None:
    client = own_redis.client()
    probe(client)
    assert client.keys("*") == []


# Rights


@pytest.fixture
def user(own_redis: RedisServer) -> Iterator[Callable[..., BrokerSettings]]:
    """Make a user with some rights."""

    def make(*rights: str) -> BrokerSettings:
        command = ("ACL", "SETUSER", "someone", "reset", "on", ">secret", *rights)
        own_redis.client().execute_command(*command)
        host = own_redis.url.removeprefix("redis://")
        return BrokerSettings(redis_url=f"redis://someone:secret@{host}")

    yield make


@pytest.mark.parametrize(
    ("rights", "named"),
    [
        (("~*", "&*", "+@all", "-lpush"), "lpush"),
        (("~batchsight:*", "&*", "+@all"), "keys"),
        (("~*", "&*", "+@all", "-llen"), "llen"),
    ],
)
def test_a_missing_right_is_not_called_a_wrong_password(
    user: Callable[..., BrokerSettings], rights: tuple[str, ...], named: str
) -> None:
    queue = RedisQueue(user(*rights))
    with pytest.raises(BrokerUnavailable) as refused:
        queue.send([PredictBatch(job="job", batch=0)])
        queue.waiting()
    assert "denies a right" in str(refused.value)
    assert named in str(refused.value)
    assert "acl setuser" in str(refused.value)
    assert "password" not in str(refused.value)


def test_a_wrong_password_is_called_one(user: Callable[..., BrokerSettings]) -> None:
    settings = user("~*", "&*", "+@all")
    wrong = BrokerSettings(redis_url=settings.redis_url.replace("secret", "guess"))
    with pytest.raises(BrokerUnavailable, match="refuses the password: check BATCHSIGHT_REDIS_URL"):
        RedisQueue(wrong).check()


def test_a_redis_without_a_connection_left_is_told_so(own_redis: RedisServer) -> None:
    first = own_redis.client()
    first.config_set("maxclients", 1)
    settings = BrokerSettings(redis_url=own_redis.url)
    with (
        pytest.raises(BrokerUnavailable, match="has no connection left"),
        broker_errors(settings),
    ):
        connect(settings).ping()


def test_a_worker_without_the_right_to_broadcast_waits_and_says_which_right(
    user: Callable[..., BrokerSettings],
) -> None:
    settings = user("~*", "resetchannels", "+@all")
    app = make_app("test", queues=["predict"], settings=settings)
    with pytest.raises(OperationalError, match=r"denies a right \(.*channels"):
        app.connection_for_read().ensure_connection(max_retries=1)
    sender = RedisQueue(settings)
    sender.send([PredictBatch(job="job", batch=0)])  # which needs no channel
    assert sender.waiting() == {"job.0"}


# Beat and lock


def test_beat_sends_what_is_due_once_redis_takes_messages(
    own_redis: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = BrokerSettings(redis_url=own_redis.url, sweep_seconds=1)
    monkeypatch.setattr("trainer.queue.schedule.broker_settings", lambda: settings)
    app = make_app("test", settings=settings)
    app.conf.beat_schedule = beat_schedule(settings, TrainerSettings())
    beat = Scheduler(app=app, schedule_filename=str(tmp_path / "schedule.json"))
    client = own_redis.client()
    become_replica(client)
    time.sleep(1.1)
    for _ in range(3):
        beat.tick()
    assert client.llen("sweep") == 0
    assert caplog.text.count("is a replica and takes no messages") == 1
    client.execute_command("REPLICAOF", "NO", "ONE")
    monkeypatch.setattr("trainer.queue.schedule.RETRY_SECONDS", 0.0)
    wait_for(lambda: beat.tick() == 0, "it is sent", 10)
    assert client.llen("sweep") == 1


def test_a_lock_is_waited_for_while_redis_refuses(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    client = own_redis.client()
    become_replica(client)
    back = threading.Timer(1.5, lambda: client.execute_command("REPLICAOF", "NO", "ONE"))
    back.start()
    with hold_lock(connect(BrokerSettings(redis_url=own_redis.url)), "model") as fencing_token:
        assert fencing_token is not None
    back.join()
    assert caplog.text.count("is a replica and takes no messages") == 1


# What anybody may have written


def test_bytes_that_are_no_message_are_passed_over_among_what_waits(
    own_redis: RedisServer,
) -> None:
    """`resume`, `status --follow` and the sweep look there."""
    settings = BrokerSettings(redis_url=own_redis.url)
    queue = RedisQueue(settings)
    queue.send([PredictBatch(job="job", batch=0)])
    strange = (b"\xff\xfe", b"", b"[]", b"[" * 100_000, b'{"headers": 1}', b"1", b"\x80" * 9)
    own_redis.client().rpush("predict", *strange)
    assert queue.waiting() == {"job.0"}
    assert [id.rpartition(".")[0] for id in waiting_task_ids(connect(settings), "predict")] == [
        "job.0"
    ]


def test_the_bell_of_a_job_falls_silent_soon_and_that_of_a_training_does_not(
    own_redis: RedisServer,
) -> None:
    client = connect(BrokerSettings(redis_url=own_redis.url))
    Notifications(client, "job").notify(event="batch")
    assert 0 < client.ttl("batchsight:notifications:job") <= 300
    Notifications(client, "run", kept_seconds=RESULT_KEPT_SECONDS).notify(event="done")
    assert client.ttl("batchsight:notifications:run") > 3600
