"""Trainings over the queue: one at a time, everything notified, nobody waits for a lost one."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from messaging.errors import BrokerUnavailable
from messaging.messages import TrainModel
from storage.errors import NotFound
from tests.builders import as_any
from trainer.errors import TrainingFailed
from trainer.queue.following import CHECK_SECONDS, MISSES, follow
from trainer.queue.queued_training import run_queued, told_now_and_then
from trainer.training.progress import EpochReport, EpochStep, TrainingSummary
from trainer.training.train import OnEpoch, OnStep, TrainingRequest

MESSAGE = TrainModel(
    dataset="digits", network="mlp", name="digits", epochs=2, batch_size=32, seed=1, run="run-1"
)
SUMMARY = TrainingSummary(
    model="digits@3",
    dataset="digits",
    network="mlp",
    accuracy=0.97512,
    promoted=True,
    reason="the first champion",
    seconds=12.4,
)
REPORT = EpochReport(
    epoch=1, epochs=2, accuracy=0.5, val_accuracy=0.6, loss=1.5, val_loss=1.25, seconds=3.0
)


# The trainer's side


@dataclass
class Trainer:
    """A pipeline that trains in no time, the lock, and what was notified."""

    error: BaseException | None = None
    lock: list[int | None] = field(default_factory=lambda: [7])
    """What the lock gives each time it is asked for: a fencing token, or None when it is taken."""
    fencing_tokens: list[int | None] = field(default_factory=list)
    notified: list[dict[str, Any]] = field(default_factory=list)
    slept: int = 0

    def run(
        self,
        request: TrainingRequest,
        on_epoch: OnEpoch,
        *,
        on_step: OnStep,
        fencing_token: int | None,
    ) -> Any:
        self.fencing_tokens.append(fencing_token)
        logging.getLogger("trainer.training").debug("Loading TensorFlow ...")
        on_epoch(REPORT)
        if self.error:
            raise self.error

        @dataclass
        class Outcome:
            summary: TrainingSummary = SUMMARY

        return Outcome()

    @contextmanager
    def turn(self) -> Iterator[int | None]:
        yield self.lock.pop(0)

    def notify(self, **fields: str | float) -> None:
        self.notified.append(fields)

    def sleep(self, seconds: float) -> None:
        self.slept += 1

    def __call__(self, message: TrainModel = MESSAGE) -> dict[str, Any]:
        return run_queued(
            message, run=as_any(self.run), turn=self.turn, notify=self.notify, sleep=self.sleep
        )


def test_a_training_is_rung_from_start_to_verdict() -> None:
    trainer, handlers = Trainer(), list(logging.getLogger("trainer").handlers)
    shown = trainer()
    assert [told["event"] for told in trainer.notified] == [
        "started",
        "phase",
        "epoch",
        "done",
    ]
    assert trainer.notified[1]["says"] == "Loading TensorFlow ..."
    assert trainer.notified[2] == {"event": "epoch", **REPORT.model_dump()}
    assert trainer.notified[3]["model"] == "digits@3"
    assert logging.getLogger("trainer").handlers == handlers
    assert trainer.fencing_tokens == [7]
    assert shown == {
        "model": "digits@3",
        "accuracy": 0.9751,
        "verdict": "promoted",
        "reason": "the first champion",
        "dataset": "digits",
        "network": "mlp",
        "seconds": 12,
    }


def test_how_far_an_epoch_is_is_told_every_two_seconds() -> None:
    notified: list[dict[str, Any]] = []
    now = 0.0
    tell = told_now_and_then(lambda **fields: notified.append(fields), lambda: now)
    for done in range(0, 100, 10):
        tell(EpochStep(epoch=1, epochs=2, done=done, total=100))
        now += 0.5
    assert notified == [
        {"event": "step", "epoch": 1, "epochs": 2, "done": done, "total": 100} for done in (40, 80)
    ]


def test_everything_rung_is_what_redis_takes() -> None:
    trainer = Trainer()
    trainer()
    values = [value for notification in trainer.notified for value in notification.values()]
    assert values
    assert all(type(value) in (str, int, float) for value in values)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TrainingFailed("The training diverged."), "The training diverged."),
        (NotFound("There is no data set 'x'."), "There is no data set 'x'."),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero. The trainer's log says more."),
        (SystemExit(1), "SystemExit: 1. The trainer's log says more."),
    ],
)
def test_whatever_ends_a_training_is_rung(error: BaseException, reason: str) -> None:
    trainer = Trainer(error=error)
    with pytest.raises(type(error)):
        trainer()
    assert trainer.notified[-1] == {"event": "failed", "reason": reason}


def test_a_training_waits_for_its_turn() -> None:
    trainer = Trainer(lock=[None, None, 9])
    assert trainer()["model"] == "digits@3"
    assert trainer.slept == 2
    assert trainer.fencing_tokens == [9]


def test_a_scheduled_training_is_skipped_rather_than_queued_up() -> None:
    trainer = Trainer(lock=[None])
    message = MESSAGE.model_copy(update={"scheduled": True})
    assert trainer(message) == {"skipped": "a training of digits is running"}
    assert trainer.notified == []
    assert trainer.fencing_tokens == []


# The follower's side


@dataclass
class Queue:
    """Gives one list of notifications a second, by a clock of its own."""

    notifications: Sequence[list[dict[str, Any]] | BrokerUnavailable]
    waiting: bool = False
    running: bool = True
    trainers: bool = True
    now: float = 0.0
    asked: int = 0

    def send(self, message: TrainModel) -> None:
        raise AssertionError("whoever follows a training sends none")

    def listen(self, run: str) -> Iterator[list[dict[str, Any]]]:
        while self.notifications:
            notifications, *self.notifications = self.notifications
            self.now += 1.0
            if isinstance(notifications, BrokerUnavailable):
                raise notifications
            yield notifications
        while True:
            assert self.now < 1000, "follows for ever"
            self.now += 1.0
            yield []

    def is_waiting(self, run: str) -> bool:
        self.asked += 1
        return self.waiting

    def is_running(self, run: str) -> bool:
        return self.running

    def has_trainer(self) -> bool:
        return self.trainers


DONE = {**{name: str(value) for name, value in SUMMARY}, "event": "done", "promoted": "0"}


def listen(queue: Queue) -> tuple[TrainingSummary, list[EpochReport], list[str]]:
    epochs: list[EpochReport] = []
    notices: list[str] = []
    summary = follow(
        "run-1",
        queue,
        epochs.append,
        notices.append,
        clock=lambda: queue.now,
        sleep=lambda seconds: None,
    )
    return summary, epochs, notices


def test_epochs_and_verdict_are_heard_as_notifications() -> None:
    epoch = {"event": "epoch", **{name: str(value) for name, value in REPORT}}
    queue = Queue([[], [{"event": "started", "host": "there"}], [epoch, {"event": "new"}], [DONE]])
    summary, epochs, notices = listen(queue)
    assert summary == SUMMARY.model_copy(update={"promoted": False})
    assert epochs == [REPORT]
    assert notices == ["there trains it."]


def test_steps_and_phases_are_heard_by_who_wants_them() -> None:
    step = EpochStep(epoch=1, epochs=2, done=32, total=100)
    told = {"event": "step", **{name: str(value) for name, value in step}}
    phase = {"event": "phase", "says": "Examining digits@3 ..."}
    steps: list[EpochStep] = []
    phases: list[str] = []
    queue = Queue([[told, phase], [DONE]])
    follow(
        "run-1",
        queue,
        lambda report: None,
        lambda notice: None,
        on_step=steps.append,
        on_phase=phases.append,
    )
    assert (steps, phases) == ([step], ["Examining digits@3 ..."])


def test_a_failure_is_raised_with_its_reason() -> None:
    with pytest.raises(TrainingFailed, match=r"^The disk is full\.$"):
        listen(Queue([[{"event": "failed", "reason": "The disk is full."}]]))


def test_a_long_epoch_is_borne_while_a_trainer_has_it() -> None:
    queue = Queue([[]] * 200 + [[DONE]])
    assert listen(queue)[2] == []
    assert queue.asked == 200 // CHECK_SECONDS


def test_a_training_that_nobody_takes_is_told_once_and_waits() -> None:
    queue = Queue([[]] * 100 + [[DONE]], waiting=True, trainers=False)
    notices = listen(queue)[2]
    assert len(notices) == 1
    assert "start one with `celery -A trainer worker`" in notices[0]


def test_a_training_behind_another_one_waits_in_silence() -> None:
    assert listen(Queue([[]] * 100 + [[DONE]], waiting=True))[2] == []


def test_a_training_whose_trainer_died_is_given_up() -> None:
    queue = Queue([[{"event": "started", "host": "there"}]], running=False)
    with pytest.raises(TrainingFailed, match="run-1 is neither in the queue nor with a trainer"):
        listen(queue)
    assert queue.now <= 2 + CHECK_SECONDS * MISSES


def test_a_moment_between_queue_and_trainer_is_no_loss() -> None:
    queue = Queue([[]] * int(CHECK_SECONDS * (MISSES - 1) + 2) + [[DONE]], running=False)
    assert listen(queue)[0].model == "digits@3"


def test_a_redis_that_refuses_for_a_while_is_told_each_time_and_the_training_is_followed() -> None:
    full = BrokerUnavailable("Redis is at its memory limit.")
    epoch = {"event": "epoch", **{name: str(value) for name, value in REPORT}}
    summary, epochs, notices = listen(Queue([full, full, [epoch], [], full, [DONE]]))
    assert summary.model == SUMMARY.model
    assert epochs == [REPORT]
    told = f"{full} The training goes on meanwhile, and so does this command."
    assert notices == [told, told]


def test_a_trainer_may_take_its_time_to_come_back_with_redis() -> None:
    full = BrokerUnavailable("Redis is at its memory limit.")
    silence: list[list[dict[str, Any]] | BrokerUnavailable] = [[]] * int(CHECK_SECONDS + 1)
    queue = Queue([*silence, *silence, full, *silence, *silence, [DONE]], running=False)
    assert listen(queue)[0].model == SUMMARY.model
