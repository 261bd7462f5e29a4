"""Follow a queued training to its end, and notice when nobody works on it."""

import time
from collections.abc import Callable

from trainer.errors import TrainingFailed
from trainer.progress import EpochReport, TrainingSummary
from trainer.train_queue import TrainQueue
from trainer.training import OnEpoch

CHECK_SECONDS = 10.0
MISSES = 3
"""A training that is neither in the queue nor with a trainer so many times in a row is lost."""


def follow(
    run: str,
    queue: TrainQueue,
    on_epoch: OnEpoch,
    notice: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> TrainingSummary:
    """Wait for a training, report its epochs and return what it came to.

    `notice` is called with a sentence when it starts, and when no trainer answers. Raises
    `TrainingFailed` with the trainer's reason, or when the training was lost.
    """
    checked, misses, warned = clock(), 0, False
    for rings in queue.listen(run):
        for ring in rings:
            match ring.get("event"):
                case "started":
                    notice(f"{ring.get('host')} trains it.")
                case "epoch":
                    on_epoch(EpochReport.model_validate(ring))
                case "done":
                    return TrainingSummary.model_validate(ring)
                case "failed":
                    raise TrainingFailed(str(ring.get("reason")))
        if rings or clock() - checked < CHECK_SECONDS:
            continue
        if queue.is_waiting(run):
            misses = 0
            if not warned and not queue.has_trainer():
                warned = True
                notice(
                    "No trainer answers: start one with `celery -A trainer worker`. "
                    "The training waits in the queue until then."
                )
        else:
            misses = 0 if queue.is_running(run) else misses + 1
        if misses == MISSES:
            raise TrainingFailed(
                f"Training {run} is neither in the queue nor with a trainer any more: "
                "its trainer was stopped. Send it again."
            )
        checked = clock()
    raise AssertionError("the doorbell never ends")
