"""What beat sends and when: the sweep for standing jobs, and trainings by crontab, in UTC."""

import logging
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from celery import beat
from celery.beat import BeatLazyFunc
from celery.schedules import crontab, schedstate
from pydantic import AwareDatetime, BaseModel, Field, RootModel, ValidationError

from console.errors import BadSettings
from messaging.broker import broker_errors, connect
from messaging.errors import BrokerUnavailable
from messaging.health import send_heartbeat
from messaging.messages import Message, Sweep, TrainModel
from messaging.refusals import probe
from messaging.settings import BrokerSettings, broker_settings
from storage.files import make_folder, write_atomically
from storage.models.store import ModelStore
from trainer.settings import TrainerSettings
from trainer.training.train import TrainingRequest

log = logging.getLogger(__name__)

RETRAIN_EXPIRES_SECONDS = 3600
"""A training that no trainer has begun by then is left to the next time."""
RETRY_SECONDS = 5.0
"""How often what is due is tried again while Redis takes nothing."""
LATE_SECONDS = 60.0
"""A training that was due longer ago than this, and not sent, was missed."""
SCHEDULE_FILE = Path("beat", "schedule.json")
"""Below the storage root."""
RETRAIN = "retrain"
"""The name of the entry."""


class Remembered(BaseModel, frozen=True):
    """What beat knows of one entry beyond its restart."""

    schedule: str
    last_run_at: AwareDatetime
    """When it was last sent; of one never sent, since when beat has known it."""
    sent: int = Field(ge=0)
    """How often."""


class Memory(RootModel[dict[str, Remembered]], frozen=True):
    """The schedule file, by name of the entry."""

    @classmethod
    def read(cls, path: Path) -> "Memory":
        """What the file says; nothing when there is none, or none that can be read."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return cls({})
        except ValidationError:
            log.warning("%s is unreadable: what was missed until now stays missed.", path)
            return cls({})

    def write(self, path: Path) -> None:
        """Put it into the file, whole or not at all."""
        write_atomically(path, self.model_dump_json(indent=2).encode())


class Scheduler(beat.Scheduler):
    """Celery's scheduler, which remembers in a JSON file what it sent and when.

    So a training that was missed while no beat ran is caught up, once. Celery's own file is a
    database of pickles: damaged by a SIGKILL, or opened by a second beat, it is thrown away.
    """

    def __init__(self, *arguments: Any, schedule_filename: str, **options: Any) -> None:
        self._path = Path(schedule_filename)
        self._waits = False
        super().__init__(*arguments, **options)

    def setup_schedule(self) -> None:
        """Go on where the last beat stopped, unless the entry's schedule has changed since."""
        super().setup_schedule()
        self.app.conf.task_send_sent_event = False  # Flower would show every sweep as pending
        make_folder(self._path.parent)
        for name, remembered in Memory.read(self._path).root.items():
            entry = self.schedule.get(name)
            if entry and remembered.schedule == str(entry.schedule):
                entry.last_run_at = min(remembered.last_run_at, self.app.now())
                entry.total_run_count = remembered.sent
        self.sync()

    def is_due(self, entry: beat.ScheduleEntry) -> schedstate:
        """Whether to send it now: what is due waits until Redis takes messages."""
        due: schedstate = super().is_due(entry)
        return schedstate(False, RETRY_SECONDS) if due.is_due and not self._is_heard() else due

    def _is_heard(self) -> bool:
        settings = broker_settings()
        try:
            with broker_errors(settings), connect(settings) as client:
                probe(client)
        except BrokerUnavailable as error:
            if not self._waits:
                log.warning("%s What is due is sent then.", error)
            self._waits = True
        else:
            self._waits = False
        return not self._waits

    def sync(self) -> None:
        """Write the file: called after everything sent, and in the end."""
        entries = {
            name: Remembered(
                schedule=str(entry.schedule),
                last_run_at=entry.last_run_at,
                sent=entry.total_run_count,
            )
            for name, entry in self.schedule.items()
        }
        Memory(entries).write(self._path)

    def tick(self, *arguments: Any, **options: Any) -> float:
        """Send what is due, with a heartbeat."""
        send_heartbeat()
        seconds: float = super().tick(*arguments, **options)
        return seconds


def beat_schedule(broker: BrokerSettings, settings: TrainerSettings) -> dict[str, Any]:
    """The entries of Celery's `beat_schedule`; raises `BadSettings`."""
    entries = {"sweep": _entry(Sweep(), broker.sweep_seconds, expires=broker.sweep_seconds)}
    if settings.retrain_schedule.strip():
        when = parse_crontab(settings.retrain_schedule)
        entry = _entry(scheduled_training(settings), when, expires=RETRAIN_EXPIRES_SECONDS)
        # Told apart by when they were asked for: two beats ask for one training.
        entry["kwargs"]["asked_at"] = BeatLazyFunc(time.time)
        entries[RETRAIN] = entry
    return entries


def parse_crontab(expression: str) -> crontab:
    """Five crontab fields as Celery's schedule; raises `BadSettings`."""
    try:
        minute, hour, day_of_month, month_of_year, day_of_week = expression.split()
        return crontab(
            minute=minute,
            hour=hour,
            day_of_month=day_of_month,
            month_of_year=month_of_year,
            day_of_week=day_of_week,
        )
    except Exception as error:  # Celery raises various types for various mistakes
        raise BadSettings(
            f"BATCHSIGHT_RETRAIN_SCHEDULE {expression!r} is no crontab expression: write five "
            "fields, minute, hour, day, month and weekday, such as `0 3 * * *`."
        ) from error


def scheduled_training(settings: TrainerSettings) -> TrainModel:
    """The message that starts a training by schedule; raises `UnknownNetwork`."""
    request = TrainingRequest.with_defaults(
        dataset=settings.retrain_dataset,
        network=settings.retrain_network,
        preset=settings.retrain_preset,
        name=settings.retrain_name,
    )
    message = request.to_message(f"scheduled-{request.name}"[:100], scheduled=True)
    # The trainer decides these by how many images there are when it begins.
    return message.model_copy(update={"epochs": None, "batch_size": None})


class ScheduleLine(BaseModel, frozen=True):
    """The schedule of trainings, as `trainer schedule` tells it. Times are UTC."""

    schedule: str
    """Five crontab fields; empty is never."""
    dataset: str
    network: str
    name: str
    last_sent_at: AwareDatetime | None = None
    next_at: AwareDatetime | None = None
    missed: bool = False
    """It was due while no beat ran; the next beat catches it up."""
    newest: str | None = None
    """The version trained last, by schedule or not."""
    newest_at: AwareDatetime | None = None


def describe_schedule(
    settings: TrainerSettings, memory: Memory, models: ModelStore, now: datetime
) -> ScheduleLine:
    """What is trained when, what came of it last and what comes next; raises `BadSettings`."""
    training = scheduled_training(settings)
    numbers = models.numbers(training.name)
    newest = models.version(training.name, numbers[-1]) if numbers else None
    line = ScheduleLine(
        schedule=settings.retrain_schedule.strip(),
        dataset=training.dataset,
        network=training.network,
        name=training.name,
        newest=str(newest) if newest else None,
        newest_at=newest.manifest.created_at if newest else None,
    )
    if not line.schedule:
        return line
    when = parse_crontab(line.schedule)
    known = memory.root.get(RETRAIN)
    if known is None or known.schedule != str(when):
        return line.model_copy(update={"next_at": next_time(when, now)})
    due = next_time(when, known.last_run_at)
    return line.model_copy(
        update={
            "last_sent_at": known.last_run_at if known.sent else None,
            "next_at": next_time(when, now),
            "missed": (now - due).total_seconds() > LATE_SECONDS,
        }
    )


def next_time(when: crontab, after: datetime) -> datetime:
    """The first time after `after` that the crontab names."""
    last, delta, _ = when.remaining_delta(after, tz="UTC")
    found: datetime = last + delta
    return found


def _entry(message: Message, schedule: float | crontab, *, expires: float) -> dict[str, Any]:
    return {
        "task": message.task,
        "schedule": schedule,
        "kwargs": message.model_dump(mode="json"),
        "options": {
            "queue": message.queue,
            "expires": expires,
            "argsrepr": "",
            "kwargsrepr": message.readable(),
        },
    }
