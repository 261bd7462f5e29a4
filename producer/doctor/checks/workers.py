"""The workers can do what they take, and do it well."""

import re
from collections.abc import Sequence

from messaging.worker_heartbeats import WorkerHeartbeat
from producer.doctor.checks.redis import NOT_REDIS
from producer.doctor.facts import Facts
from producer.doctor.finding import Finding, fault, listed, ok, skipped

LARGEST_SKEW_SECONDS = 5.0
SAFE_KERAS = (3, 15, 1)


def check_ready(facts: Facts) -> Finding:
    """The workers can run what they take."""
    if not facts.presences:
        return skipped("ready", "No worker has told how it is.")
    for presence in facts.presences:
        # What is wrong with its storage is another check's.
        if presence.problem and presence.storage_id is not None:
            return fault(
                "ready",
                f"{presence.worker}: {presence.problem}",
                "If that does not help, read the log of that worker.",
            )
    return ok("ready", "All workers are ready.")


def check_names(facts: Facts) -> Finding:
    """No two workers have one name: each is taken for the other."""
    if facts.namesakes is None:
        return skipped("names", NOT_REDIS)
    for name, count in facts.namesakes.items():
        return fault(
            "names",
            f"{count} workers are called {name}: questions and answers go to either.",
            f"Start each with a name of its own: `-n second{name[name.find('@') :]}`, say.",
        )
    return ok("names", "Every worker has a name of its own.")


def check_threads(facts: Facts) -> Finding:
    """The workers of a machine have no more TensorFlow threads, one a child, than cores."""
    if not facts.presences:
        return skipped("threads", "No worker has told of its threads.")
    for presence in facts.presences:
        if len(presence.cpus) > presence.cores < presence.children:
            return too_many_threads([presence], presence.cores, " of its CPU quota")
    for machine in sorted({p.machine for p in facts.presences}):
        here = [p for p in facts.presences if p.machine == machine]
        cores = len({cpu for p in here for cpu in p.cpus})
        if sum(p.children for p in here) > cores:
            return too_many_threads(here, cores, "")
    return ok("threads", "There are no more TensorFlow threads than cores.")


def too_many_threads(presences: Sequence[WorkerHeartbeat], cores: int, of: str) -> Finding:
    """Children that take each other's time."""
    threads = sum(p.children for p in presences)
    there = "1 core" if cores == 1 else f"{cores} cores"
    return fault(
        "threads",
        f"{listed([p.worker for p in presences])} run {threads} TensorFlow threads on {there}{of}, "
        "one in each child.",
        f"Start fewer workers or children: `--concurrency` {cores} in all at most.",
    )


def check_clocks(facts: Facts) -> Finding:
    """All clocks agree: leases and schedules are told by them."""
    if facts.seconds_ahead is None:
        return skipped("clocks", NOT_REDIS)
    clocks = [(facts.seconds_ahead, "this machine"), (0.0, "Redis")]
    clocks += [(p.seconds_ahead, p.worker) for p in facts.presences]
    (slow, behind), (fast, ahead) = min(clocks), max(clocks)
    if fast - slow > LARGEST_SKEW_SECONDS:
        return fault(
            "clocks",
            f"The clock of {ahead} is {fast - slow:.0f} s ahead of that of {behind}.",
            "Let NTP set the clocks of both.",
        )
    return ok("clocks", "The clocks agree.")


def check_keras(facts: Facts) -> Finding:
    """No Keras with known holes loads models."""
    versions = [(facts.keras, "This environment")]
    versions += [(p.keras, p.worker) for p in facts.presences]
    known = [(keras, where) for keras, where in versions if keras]
    safe = ".".join(map(str, SAFE_KERAS))
    if not known:
        return skipped("keras", "There is no Keras here, and no worker has told of its own.")
    for keras, where in known:
        if tuple(int(n) for n in re.findall(r"\d+", keras)[:3]) < SAFE_KERAS:
            return fault(
                "keras",
                f"{where} has Keras {keras}, which a crafted model file can make run its code.",
                f"Install keras>={safe} there.",
            )
    return ok("keras", f"Keras is {listed(sorted({keras for keras, _ in known}))}.")
