"""Batches whose messages got lost are sent again, and what was sent is noted."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from dispatch.resending import send_lost
from messaging.errors import BrokerUnavailable
from messaging.messages import PredictBatch
from storage.jobs.store import JobStore
from tests.builders import array_job, images_of


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
        send_lost(store.of(job), range(6), waiting=set(), send=send)
    assert sent == [0, 1]
    assert mark.exists()


def test_nothing_is_noted_where_nothing_was_sent(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    job = array_job(store, images_of(range(4)), batch_size=2, window=2)
    waiting = {PredictBatch(job=job.id, batch=batch).key for batch in range(2)}
    assert send_lost(store.of(job), range(2), waiting=waiting, send=lambda _: None) == []

    def refuse(messages: Sequence[PredictBatch]) -> None:
        raise BrokerUnavailable("Redis refuses.")

    with pytest.raises(BrokerUnavailable):
        send_lost(store.of(job), range(2), waiting=set(), send=refuse)
    assert not (store.path(job.id) / "sent").exists()
