"""Somebody takes what is queued, and nobody takes it twice."""

from console.counts import counted
from messaging.settings import (
    PREDICT_QUEUE,
    SWEEP_QUEUE,
    TENSORFLOW_QUEUE,
    TRAIN_QUEUE,
    VISIBILITY_FACTOR,
)
from producer.doctor.checks.redis import NOT_REDIS
from producer.doctor.facts import Facts
from producer.doctor.finding import Finding, Outcome, fault, listed, ok, skipped

NOT_INSPECTED = "Redis passes no question on to the workers."
STARTING_SECONDS = 60.0
"""A worker younger than this may still be importing TensorFlow, and idle for that reason."""
NAMED_JOBS = 3
STARTS = {
    PREDICT_QUEUE: "celery -A worker worker",
    SWEEP_QUEUE: "celery -A worker worker",
    TRAIN_QUEUE: "celery -A trainer worker",
}
"""What listens on each queue that somebody has to listen on."""


def check_visibility(facts: Facts) -> Finding:
    """No batch is handed out again while a step of it may still take its time.

    The hash of unacknowledged messages is one for all workers, and each sweeps it with its own
    timeout: so the shortest of any counts.
    """
    limit = facts.time_limit_seconds
    timeouts = [(facts.visibility_timeout_seconds, "this machine's settings")]
    for worker in facts.workers or ():
        if worker.visibility_timeout_seconds:
            timeouts.append((worker.visibility_timeout_seconds, worker.name))
    for timeout, who in timeouts:
        if timeout < int(VISIBILITY_FACTOR * limit):
            return fault(
                "visibility",
                f"Redis hands a batch out again after {timeout:g} s, but a step of it may take "
                f"{limit:g} s ({who}).",
                "Start all programs with the same BATCHSIGHT_TIME_LIMIT_SECONDS, and set no "
                f"visibility_timeout below {VISIBILITY_FACTOR:g} times that.",
            )
    return ok("visibility", "The visibility timeout is long enough for the time limit.")


def check_queues(facts: Facts) -> Finding:
    """Somebody listens on every queue; on that of TensorFlow, if a job needs it."""
    if facts.workers is None:
        return skipped("queues", NOT_INSPECTED)
    taken = {queue for worker in facts.workers for queue in worker.queues}
    able = TENSORFLOW_QUEUE in taken or any(w.presence and w.presence.keras for w in facts.workers)
    if facts.for_tensorflow and PREDICT_QUEUE in taken and not able:
        jobs = [f"job {job} ({version})" for job, version in facts.for_tensorflow.items()]
        wait = "waits" if len(jobs) == 1 else "wait"
        if len(jobs) > NAMED_JOBS:
            jobs = [*jobs[: NAMED_JOBS - 1], f"{len(jobs) - NAMED_JOBS + 1} more"]
        return fault(
            "queues",
            f"No worker has TensorFlow, which {listed(jobs)} {wait} for.",
            f"Start an ordinary worker, `{STARTS[PREDICT_QUEUE]}` with TensorFlow installed, or "
            "cancel the job and submit it again with BATCHSIGHT_RUNTIME=onnx and a version that "
            "was published as ONNX, too.",
        )
    if deaf := [queue for queue in STARTS if queue not in taken]:
        commands = sorted({f"`{STARTS[queue]}`" for queue in deaf})
        return fault(
            "queues",
            f"No worker listens on {listed(deaf)}.",
            f"Start {listed(commands)} with the same BATCHSIGHT_REDIS_URL.",
        )
    return ok("queues", f"Workers listen on {listed(list(STARTS))}.")


def check_idle(facts: Facts) -> Finding:
    """Workers take what waits for them."""
    if facts.workers is None or facts.waiting is None:
        return skipped("idle", NOT_INSPECTED)
    for queue, (before, after) in facts.waiting.items():
        listeners = [w for w in facts.workers if queue in w.queues]
        awake = all(w.busy or w.uptime_seconds < STARTING_SECONDS for w in listeners)
        stuck = not any(w.busy for w in listeners) and 0 < before <= after
        if listeners and stuck and not awake:
            names = listed([w.name for w in listeners])
            return fault(
                "idle",
                f"{counted(after, 'message waits', 'messages wait')} on {queue} and get "
                f"no fewer, but {names} does nothing.",
                "Restart that worker, and read its log for what its pool waits for.",
            )
    return ok("idle", "No queue waits for an idle worker.")


def check_beats(facts: Facts) -> Finding:
    """One beat sends the scheduled messages."""
    if facts.beats is None:
        return skipped("beat", NOT_REDIS)
    if len(facts.beats) > 1:
        names = listed([name.rpartition(":")[0] for name in facts.beats])
        return fault(
            "beat",
            f"{len(facts.beats)} beats run ({names}), and each sends every scheduled message.",
            "Stop all but one.",
        )
    if not facts.beats:
        return Finding(
            check="beat",
            status=Outcome.WARNING,
            message="No beat runs, so that nobody looks after jobs that stand still.",
            remedy="Start one, and only one, with `celery -A trainer beat`.",
        )
    return ok("beat", "One beat runs.")
