"""A Redis that answers and does not do what it is asked: what is said, and what mends it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from messaging.broker import broker_errors, connect
from messaging.errors import BrokerUnavailable
from messaging.messages import PredictBatch
from messaging.refusals import REFUSALS, explain, probe
from messaging.settings import BrokerSettings
from producer.doctor import DoctorSettings, Facts, Outcome, examine, gather_facts
from producer.predict_queue import RedisQueue
from storage.settings import StorageSettings
from tests.processes import RedisServer, wait_for

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
        sentence = str(refused.value)
        assert sentence.startswith(f"Redis at {own_redis.url} ")
        assert says in sentence
        assert remedy in sentence
    finding = next(f for f in examine(look(own_redis, tmp_path)) if f.check == "redis")
    assert finding.status is Outcome.FAULT
    assert says in finding.message
    assert remedy.lower() in (finding.mend or "").lower()


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
