"""What commands work with: as the environment configures it, or as their caller brings it."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from trainer.terminal import say_logs

if TYPE_CHECKING:
    from trainer.pipeline import Pipeline
    from trainer.queue.train_queue import TrainQueue


@dataclass(frozen=True, kw_only=True)
class Given:
    """What commands work with when their caller brings it: Click's `obj`."""

    pipeline: "Pipeline"
    queue: "TrainQueue"


def open_pipeline() -> "Pipeline":
    """The pipeline as the environment configures it, or a caller's; what it logs is shown."""
    from trainer.pipeline import Pipeline
    from trainer.settings import read_settings

    context = click.get_current_context()
    say_logs(phases=sys.stderr.isatty() and not context.params.get("json_"))
    given = context.find_object(Given)
    if given:
        return given.pipeline
    storage, _, settings = read_settings()
    return Pipeline.of(storage, settings)


def open_queue() -> "TrainQueue":
    """The queue as the environment configures it, or a caller's."""
    from trainer.queue.train_queue import RedisTrainQueue
    from trainer.settings import read_settings

    given = click.get_current_context().find_object(Given)
    if given:
        return given.queue
    _, broker, _ = read_settings()
    return RedisTrainQueue(broker)
