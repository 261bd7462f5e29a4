"""The speeds that workers tell, on a real Redis."""

from messaging.measured_speeds import KEPT_SECONDS, PREFIX, MeasuredSpeeds
from tests.processes import RedisServer


def test_a_producer_reads_what_a_worker_has_noted_last(redis_server: RedisServer) -> None:
    client = redis_server.client()
    worker, producer = MeasuredSpeeds(client), MeasuredSpeeds(client)
    assert producer.of("a" * 64) is None
    worker.note("a" * 64, 6.4321)
    assert producer.of("a" * 64) == 6.432
    assert 0 < client.ttl(PREFIX + "a" * 64) <= KEPT_SECONDS
    worker.note("a" * 64, 6.5)
    assert producer.of("a" * 64) == 6.432, "not worth a word"
    worker.note("a" * 64, 30.0)
    assert producer.of("a" * 64) == 30.0
    assert producer.of("b" * 64) is None


def test_what_is_no_speed_is_none(redis_server: RedisServer) -> None:
    client = redis_server.client()
    client.set(PREFIX + "c" * 64, "fast")
    assert MeasuredSpeeds(client).of("c" * 64) is None
