"""What beat sends and when: the sweep for standing jobs, and trainings by crontab, in UTC."""

from pathlib import Path
from typing import Any

from celery.beat import PersistentScheduler
from celery.schedules import crontab

from messaging.messages import Message, Sweep, TrainModel
from messaging.settings import BrokerSettings
from storage.files import make_folder
from trainer.errors import BadSettings
from trainer.settings import TrainerSettings
from trainer.training import TrainingRequest

RETRAIN_EXPIRES_SECONDS = 3600
"""A training that no trainer has begun by then is left to the next time."""


class Scheduler(PersistentScheduler):
    """Celery's own scheduler, which remembers when it sent what, in a folder it makes."""

    def setup_schedule(self) -> None:
        """Open the schedule file."""
        make_folder(Path(self.schedule_filename).parent)
        super().setup_schedule()


def beat_schedule(broker: BrokerSettings, settings: TrainerSettings) -> dict[str, Any]:
    """The entries of Celery's `beat_schedule`; raises `BadSettings`."""
    entries = {"sweep": _entry(Sweep(), broker.sweep_seconds, expires=broker.sweep_seconds)}
    if settings.retrain_schedule.strip():
        when = parse_crontab(settings.retrain_schedule)
        entries["retrain"] = _entry(
            scheduled_training(settings), when, expires=RETRAIN_EXPIRES_SECONDS
        )
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
        name=settings.retrain_name,
    )
    return request.to_message(f"scheduled-{request.name}"[:100], scheduled=True)


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
