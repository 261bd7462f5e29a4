"""Batches whose messages got lost are sent again, and what was sent is noted."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from dispatch.resending import send_lost
from messaging.errors import BrokerUnavailable
from messaging.messages import PredictBatch
from storage.jobs.store import JobStore
from tests.builders import array_job, images_of, result_of


def test_what_was_sent_before_the_broker_refused_is_noted(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    job = array_job(store, images_of(range(12)), batch_size=2, window=6)
    sent: list[int] = []

    def send(messages: Sequence[PredictBatch]) -> None:
        if len(sent) == 2:
            raise BrokerUnavailable("Redis refuses.")
        sent.extend(message.batch for message in messages)

    mark = store.path(job.id) / "sent"
    with pytest.raises(BrokerUnavailable):
        send_lost(store.of(job), range(6), waiting=set(), lease_seconds=60.0, send=send)
    assert sent == [0, 1]
    assert mark.exists()


def test_nothing_is_noted_where_nothing_was_sent(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    job = array_job(store, images_of(range(4)), batch_size=2, window=2)
    waiting = {PredictBatch(job=job.id, batch=batch).key for batch in range(2)}
    assert (
        send_lost(store.of(job), range(2), waiting=waiting, lease_seconds=60.0, send=lambda _: None)
        == []
    )

    def refuse(messages: Sequence[PredictBatch]) -> None:
        raise BrokerUnavailable("Redis refuses.")

    with pytest.raises(BrokerUnavailable):
        send_lost(store.of(job), range(2), waiting=set(), lease_seconds=60.0, send=refuse)
    assert not (store.path(job.id) / "sent").exists()


def test_what_a_worker_has_just_taken_is_not_sent_again(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    job = array_job(store, images_of(range(6)), batch_size=2, window=3)
    stored = store.of(job)
    elsewhere = stored.attempts.begin(0)
    elsewhere.path.write_bytes(elsewhere.path.read_bytes().replace(b'"boot": "', b'"boot": "else.'))
    stored.results.write(1, result_of([0, 1]))
    sent: list[PredictBatch] = []
    assert send_lost(stored, range(3), waiting=set(), lease_seconds=60.0, send=sent.extend) == [2]
    assert [message.batch for message in sent] == [2]
