"""Scheduled trainings: what beat remembers, what is caught up, and what is skipped."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from messaging.health import VARIABLE
from messaging.messages import TrainModel
from messaging.settings import BrokerSettings
from storage.models.store import ModelStore
from tests.builders import as_any, publish
from trainer.datasets.downloads import Downloads
from trainer.pipeline import Pipeline
from trainer.queue.queued_training import run_queued
from trainer.queue.schedule import (
    RETRAIN,
    Memory,
    Remembered,
    Scheduler,
    beat_schedule,
    describe_schedule,
    next_time,
    parse_crontab,
    scheduled_training,
)
from trainer.settings import TrainerSettings
from trainer.training.train import TrainingRequest

NIGHTLY = "0 3 * * *"
NOW = datetime.now(UTC)


def settings(schedule: str = NIGHTLY, **fields: Any) -> TrainerSettings:
    return TrainerSettings(retrain_schedule=schedule, **fields)


def start_beat(path: Path, schedule: str = NIGHTLY) -> Scheduler:
    """Beat's scheduler as far as it needs no Redis."""
    app = Celery("test")
    app.conf.update(
        beat_schedule=beat_schedule(BrokerSettings(), settings(schedule)), beat_sync_every=1
    )
    return Scheduler(app=app, schedule_filename=str(path))


def remember(path: Path, last_run_at: datetime, schedule: str = NIGHTLY) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = Remembered(schedule=str(parse_crontab(schedule)), last_run_at=last_run_at, sent=4)
    Memory({RETRAIN: entry}).write(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "beat" / "schedule.json"


@pytest.mark.parametrize(
    ("schedule", "after", "then"),
    [
        ("0 3 * * *", "2026-03-01 02:59:59", "2026-03-01 03:00:00"),
        ("0 3 * * *", "2026-03-01 03:00:00", "2026-03-02 03:00:00"),
        ("*/15 * * * *", "2026-12-31 23:50:00", "2027-01-01 00:00:00"),
        ("30 6 * * 1", "2026-03-01 12:00:00", "2026-03-02 06:30:00"),
        ("0 0 29 2 *", "2026-03-01 00:00:00", "2028-02-29 00:00:00"),
        ("0 3 1 * *", "2026-01-31 04:00:00", "2026-02-01 03:00:00"),
    ],
)
def test_the_next_time_is_the_first_one_that_the_crontab_names(
    schedule: str, after: str, then: str
) -> None:
    at = datetime.fromisoformat(after).replace(tzinfo=UTC)
    assert f"{next_time(parse_crontab(schedule), at):%Y-%m-%d %H:%M:%S}" == then


def test_a_new_beat_has_missed_nothing_and_writes_down_that_it_has_begun(path: Path) -> None:
    beat = start_beat(path)
    assert not beat.schedule[RETRAIN].is_due().is_due
    known = Memory.read(path).root[RETRAIN]
    assert (known.sent, known.last_run_at >= NOW - timedelta(seconds=60)) == (0, True)


def test_what_was_missed_three_times_is_due_once(path: Path) -> None:
    remember(path, NOW - timedelta(days=3))
    beat = start_beat(path)
    assert beat.schedule[RETRAIN].is_due().is_due
    sent = beat.reserve(beat.schedule[RETRAIN])
    assert not sent.is_due().is_due
    beat.sync()
    assert Memory.read(path).root[RETRAIN].sent == 5
    assert not start_beat(path).schedule[RETRAIN].is_due().is_due


def test_a_changed_schedule_has_missed_nothing(path: Path) -> None:
    remember(path, NOW - timedelta(days=3), schedule="0 4 * * *")
    assert not start_beat(path).schedule[RETRAIN].is_due().is_due


def test_a_clock_that_was_set_back_does_not_stop_the_schedule(path: Path) -> None:
    remember(path, NOW + timedelta(days=300))
    entry = start_beat(path).schedule[RETRAIN]
    assert entry.is_due().next <= 24 * 3600


@pytest.mark.parametrize("content", [b"", b"{", b'{"retrain": {"sent": -1}}', b"\xff\x00"])
def test_a_damaged_schedule_file_starts_anew(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert not start_beat(path).schedule[RETRAIN].is_due().is_due
    assert "stays missed" in caplog.text
    assert Memory.read(path).root.keys() == {"sweep", RETRAIN}


def test_every_round_of_beat_is_a_sign_of_life(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "alive"))
    start_beat(path).tick()
    assert (tmp_path / "alive").exists()


def test_the_schedule_is_told_with_the_last_and_the_next_time(path: Path, tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    off = describe_schedule(settings(""), Memory({}), store, noon)
    assert (off.schedule, off.next_at, off.newest) == ("", None, None)
    publish(store, "mnist")
    remember(path, noon - timedelta(hours=9))
    line = describe_schedule(settings(), Memory.read(path), store, noon)
    assert line.last_sent_at == noon - timedelta(hours=9)
    assert line.next_at == noon + timedelta(hours=15)
    assert (line.newest, line.missed) == ("mnist@1", False)
    later = describe_schedule(settings(), Memory.read(path), store, noon + timedelta(days=2))
    assert later.missed


def test_beat_says_when_it_asked_for_a_training(path: Path) -> None:
    entry = start_beat(path).schedule[RETRAIN]
    assert abs(entry.kwargs["asked_at"]() - datetime.now(UTC).timestamp()) < 5
    assert entry.options["kwargsrepr"] == "mlp on mnist, by schedule"
    assert entry.options["expires"]


@contextmanager
def turn() -> Iterator[int]:
    yield 7


def test_a_training_asked_for_twice_is_run_once(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    pipeline = Pipeline(as_any(None), store, Downloads(tmp_path, 1.0), as_any(None))
    ran: list[int | None] = []

    class Stop(Exception):
        pass

    def run(request: Any, *_: Any, fencing_token: int | None, **__: Any) -> Any:
        ran.append(fencing_token)
        raise Stop

    def attempt(asked_at: float | None) -> Any:
        message = scheduled_training(settings()).model_copy(update={"asked_at": asked_at})
        return run_queued(
            message,
            run=as_any(run),
            turn=turn,
            notify=lambda **_: None,
            trained_since=pipeline.trained_since,
        )

    asked_at = NOW.timestamp() - 10
    with pytest.raises(Stop):
        attempt(asked_at)
    publish(store, "mnist")
    assert attempt(asked_at) == {"skipped": "mnist@1 was trained meanwhile"}
    for other in (None, datetime.now(UTC).timestamp() + 1):
        with pytest.raises(Stop):
            attempt(other)
    assert ran == [7, 7, 7]


@pytest.mark.parametrize("images", [None, 300, 60_000])
def test_a_scheduled_training_is_as_long_as_its_images_need_like_one_by_hand(
    images: int | None,
) -> None:
    message = TrainModel.from_wire(
        scheduled_training(settings(retrain_network="resnet")).model_dump(mode="json")
    )
    by_hand = TrainingRequest.with_defaults(dataset="mnist", network="resnet", images=images)
    asked = TrainingRequest.from_message(message, images)
    assert asked == by_hand
    assert (asked.batch_size < 128) is (images == 300)
