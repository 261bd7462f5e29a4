"""A training that came over the queue: one at a time, and everybody who follows it is told."""

import logging
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from messaging.messages import TrainModel
from storage.errors import StorageError
from trainer.errors import TrainerError
from trainer.pipeline import Outcome
from trainer.training.progress import EpochStep
from trainer.training.train import OnEpoch, OnStep, TrainingRequest

LOCK_POLL_SECONDS = 1.0
STEP_SECONDS = 2.0
"""How often those who follow a training are told how far its epoch is."""

log = logging.getLogger(__name__)

Turn = Callable[[], AbstractContextManager[int | None]]
"""Holds the lock of all trainings of a model and gives its fencing token; `None` if it is taken."""


class RunTraining(Protocol):
    """How a training is run: `Pipeline.run`."""

    def __call__(
        self,
        request: TrainingRequest,
        on_epoch: OnEpoch,
        *,
        on_step: OnStep,
        fencing_token: int | None,
    ) -> Outcome:
        """Train, publish and judge."""


class Notify(Protocol):
    """Tells those who follow the training."""

    def __call__(self, **fields: str | float) -> None:
        """Send a few facts; never raises."""


def run_queued(
    message: TrainModel,
    *,
    run: RunTraining,
    turn: Turn,
    notify: Notify,
    training_images: Callable[[str], int | None] = lambda dataset: None,
    trained_since: Callable[[str, float], str | None] = lambda name, when: None,
    sleep: Callable[[float], object] = time.sleep,
) -> dict[str, str | float | bool]:
    """Run the training that a message asks for, once no other of the same model is running.

    A scheduled one is skipped instead of waiting, and when a version was trained since it was
    asked for: two beats, or a message sent twice, come to one training. Returns what Flower
    shows; whatever is raised has been notified first.
    """
    while True:
        with turn() as fencing_token:
            if fencing_token is not None:
                if message.asked_at and (version := trained_since(message.name, message.asked_at)):
                    log.info("%s was trained meanwhile: the scheduled one is skipped.", version)
                    return {"skipped": f"{version} was trained meanwhile"}
                return _run_now(message, fencing_token, run, notify, training_images)
        if message.scheduled:
            log.info("A training of %s is running: the scheduled one is skipped.", message.name)
            return {"skipped": f"a training of {message.name} is running"}
        sleep(LOCK_POLL_SECONDS)


def _run_now(
    message: TrainModel,
    fencing_token: int,
    run: RunTraining,
    notify: Notify,
    training_images: Callable[[str], int | None],
) -> dict[str, str | float | bool]:
    notify(event="started", host=socket.gethostname())
    phases = PhaseNotifier(notify)
    try:
        outcome = run(
            TrainingRequest.from_message(message, training_images(message.dataset)),
            lambda report: notify(
                event="epoch",
                **{
                    name: int(fact) if isinstance(fact, bool) else fact
                    for name, fact in report.model_dump().items()
                },
            ),
            on_step=told_now_and_then(notify),
            fencing_token=fencing_token,
        )
    except (TrainerError, StorageError) as error:
        notify(event="failed", reason=str(error))
        raise
    except BaseException as error:
        notify(
            event="failed", reason=f"{type(error).__name__}: {error}. The trainer's log says more."
        )
        raise
    finally:
        phases.close()
    summary = outcome.summary
    log.info("%s", summary)
    notify(event="done", **{**summary.model_dump(), "promoted": int(summary.promoted)})
    return {
        "model": summary.model,
        "accuracy": round(summary.accuracy, 4),
        "verdict": "promoted" if summary.promoted else "rejected",
        "reason": summary.reason,
        "dataset": summary.dataset,
        "network": summary.network,
        "seconds": round(summary.seconds),
    }


def told_now_and_then(notify: Notify, clock: Callable[[], float] = time.monotonic) -> OnStep:
    """Tells how far the epoch is, but not at every step."""
    told_at = clock()

    def tell(step: EpochStep) -> None:
        nonlocal told_at
        if clock() - told_at >= STEP_SECONDS:
            told_at = clock()
            notify(event="step", **step.model_dump())

    return tell


class PhaseNotifier(logging.Handler):
    """Tells what the trainer does besides epochs: all that its modules log for debugging."""

    def __init__(self, notify: Notify) -> None:
        super().__init__(logging.DEBUG)
        self._notify = notify
        self._logger = logging.getLogger("trainer")
        self._level = self._logger.level
        self._logger.setLevel(logging.DEBUG)
        self._logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one phase."""
        if record.levelno == logging.DEBUG:
            self._notify(event="phase", says=record.getMessage())

    def close(self) -> None:
        """Stop telling."""
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)
        super().close()
