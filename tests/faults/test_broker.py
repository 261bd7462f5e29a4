"""Redis dies, forgets, fills up or goes out of reach; the job still ends, exactly."""

import time
from collections.abc import Iterator

import pytest

from tests.faults.conftest import House
from tests.faults.proxy import Proxy
from tests.faults.test_workers import SLOW, assert_exact
from tests.integration.messaging.test_refusals import REFUSE
from tests.processes import wait_for

BLACK_HOLE_SECONDS = 60


def test_redis_killed_and_started_again_with_its_log(house: House, undisturbed: bytes) -> None:
    house.worker(seconds_per_call=SLOW)
    house.submit()
    house.wait_until_done(4)
    house.redis.kill()
    time.sleep(2)
    house.redis.start()
    assert_exact(house, undisturbed)


def test_redis_started_again_empty(house: House, undisturbed: bytes) -> None:
    house.worker(seconds_per_call=SLOW)
    house.submit()
    house.wait_until_done(4)
    house.redis.kill()
    for path in house.redis.folder.rglob("*.aof*"):
        path.unlink()
    house.redis.start()
    assert_exact(house, undisturbed)


def test_bytes_that_are_no_message_amid_the_batches(house: House, undisturbed: bytes) -> None:
    worker = house.worker(seconds_per_call=SLOW / 3)
    house.submit()
    client = house.redis.client()
    for batches in (2, 8, 14):
        house.wait_until_done(batches)
        client.rpush("predict", '{"body": ', "[]", "\x00\xff")
    assert_exact(house, undisturbed)
    assert worker.log.count("A malformed message was dropped") == 9
    assert worker.running


def test_redis_at_its_memory_limit_makes_everyone_wait(house: House, undisturbed: bytes) -> None:
    worker = house.worker(seconds_per_call=SLOW / 3)
    house.submit()
    house.wait_until_done(4)
    client = house.redis.client()
    client.config_set("maxmemory", "1mb")
    waiting = house.popen("producer", "status", "job", "--follow", "--json")
    time.sleep(8)
    client.config_set("maxmemory", "100mb")
    waiting.communicate(timeout=120)
    assert waiting.returncode == 0
    assert_exact(house, undisturbed)
    assert worker.running


@pytest.mark.parametrize("kind", ["READONLY", "NOREPLICAS", "MISCONF"])
def test_a_redis_that_refuses_for_a_while_makes_everyone_wait_and_nobody_end(
    house: House, undisturbed: bytes, kind: str
) -> None:
    worker = house.worker(seconds_per_call=SLOW / 3)
    house.submit()
    house.wait_until_done(4)
    client = house.redis.client()
    folder = str(house.redis.folder)
    refuse, says, _ = REFUSE[kind]
    refuse(client)
    waiting = house.popen("producer", "status", "job", "--follow", "--json")
    worker.wait_for_log(says)
    time.sleep(6)
    client.execute_command("REPLICAOF", "NO", "ONE")
    for name, value in {"min-replicas-to-write": "0", "save": "", "dir": folder}.items():
        client.config_set(name, value)
    client.bgsave()
    _, errors = waiting.communicate(timeout=120)
    assert waiting.returncode == 0, errors
    assert_exact(house, undisturbed)
    assert worker.running
    assert "Unrecoverable" not in worker.log
    wait_for(lambda: client.hlen("unacked.worker") == 0, "nothing is left unacknowledged")


def test_a_submission_waits_while_redis_is_at_its_memory_limit(
    house: House, undisturbed: bytes
) -> None:
    house.worker()
    client = house.redis.client()
    client.config_set("maxmemory", "1mb")
    images = str(house.storage / "arrays" / "images.npy")
    options = ["--model", "digits", "--batch-size", "200", "--job-id", "job"]
    submission = house.popen("producer", "submit", images, *options)
    time.sleep(5)
    assert submission.poll() is None
    client.config_set("maxmemory", "100mb")
    _, errors = submission.communicate(timeout=120)
    assert submission.returncode == 0
    assert "memory limit" in errors
    assert house.predictions() == undisturbed
    assert all(program.running for program in house.programs)


@pytest.fixture
def proxy(house: House) -> Iterator[Proxy]:
    """A proxy before the house's Redis."""
    one = Proxy(house.redis.port)
    yield one
    one.close()


def test_a_connection_that_swallows_everything_for_a_minute(
    house: House, undisturbed: bytes, proxy: Proxy
) -> None:
    direct = house.environment["BATCHSIGHT_REDIS_URL"]
    house.environment["BATCHSIGHT_REDIS_URL"] = f"redis://127.0.0.1:{proxy.port}/0"
    worker = house.worker(seconds_per_call=SLOW)
    house.environment["BATCHSIGHT_REDIS_URL"] = direct
    house.submit()
    house.wait_until_done(4)
    proxy.black_hole()
    time.sleep(BLACK_HOLE_SECONDS)
    proxy.restore()
    assert_exact(house, undisturbed)
    wait_for(lambda: worker.running, "the worker runs", 1)
