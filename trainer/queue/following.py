"""Follow a queued training to its end, and notice when nobody works on it."""

import time
from collections.abc import Callable

from messaging.errors import BrokerUnavailable
from trainer.errors import TrainingFailed
from trainer.queue.train_queue import TrainQueue
from trainer.training.progress import EpochReport, EpochStep, TrainingSummary
from trainer.training.train import OnEpoch, OnStep

CHECK_SECONDS = 10.0
MISSES = 3
"""A training that is neither in the queue nor with a trainer so many times in a row is lost."""
RETRY_SECONDS = 1.0


def follow(
    run: str,
    queue: TrainQueue,
    on_epoch: OnEpoch,
    notice: Callable[[str], None],
    *,
    on_step: OnStep = lambda step: None,
    on_phase: Callable[[str], object] = lambda phase: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> TrainingSummary:
    """Wait for a training, report its epochs and return what it came to.

    `notice` is called with a sentence when it starts, when no trainer answers, and when there is
    no Redis for a while. Raises `TrainingFailed` with the trainer's reason, or when the training
    was lost.
    """
    watch = Watch(run, queue, notice, clock)
    away = False
    while True:
        try:
            for notifications in queue.listen(run):
                for notification in notifications:
                    match notification.get("event"):
                        case "started":
                            notice(f"{notification.get('host')} trains it.")
                        case "epoch":
                            on_epoch(EpochReport.model_validate(notification))
                        case "step":
                            on_step(EpochStep.model_validate(notification))
                        case "phase":
                            on_phase(str(notification.get("says")))
                        case "done":
                            return TrainingSummary.model_validate(notification)
                        case "failed":
                            raise TrainingFailed(str(notification.get("reason")))
                if not notifications:
                    watch.look()
                away = False
        except BrokerUnavailable as error:
            if not away:
                notice(f"{error} The training goes on meanwhile, and so does this command.")
            away = True
            watch.begin_anew()
            sleep(RETRY_SECONDS)


class Watch:
    """Notices when nobody works on a training."""

    def __init__(
        self,
        run: str,
        queue: TrainQueue,
        notice: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._run = run
        self._queue = queue
        self._notice = notice
        self._clock = clock
        self._warned = False
        self.begin_anew()

    def begin_anew(self) -> None:
        """Give those who may work on it time to answer again."""
        self._looked_at, self._misses = self._clock(), 0

    def look(self) -> None:
        """Look every few seconds; raises `TrainingFailed` when the training was lost."""
        if self._clock() - self._looked_at < CHECK_SECONDS:
            return
        if self._queue.is_waiting(self._run):
            self._misses = 0
            if not self._warned and not self._queue.has_trainer():
                self._warned = True
                self._notice(
                    "No trainer answers: start one with `celery -A trainer worker`. "
                    "The training waits in the queue until then."
                )
        else:
            self._misses = 0 if self._queue.is_running(self._run) else self._misses + 1
        if self._misses == MISSES:
            raise TrainingFailed(
                f"Training {self._run} is neither in the queue nor with a trainer any more: "
                "its trainer was stopped. Send it again."
            )
        self._looked_at = self._clock()
