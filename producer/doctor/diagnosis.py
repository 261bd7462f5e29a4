"""All checks of the doctor, one after the other."""

from collections.abc import Callable, Sequence

from producer.doctor.checks.flower import check_flower
from producer.doctor.checks.queues import check_beats, check_idle, check_queues, check_visibility
from producer.doctor.checks.redis import (
    check_eviction,
    check_memory,
    check_password,
    check_persistence,
    check_redis,
)
from producer.doctor.checks.storage import check_shared, check_space, check_writable
from producer.doctor.checks.workers import (
    check_clocks,
    check_keras,
    check_names,
    check_ready,
    check_threads,
)
from producer.doctor.facts import Facts
from producer.doctor.finding import Finding, Outcome

CHECKS: Sequence[Callable[[Facts], Finding]] = (
    check_redis,
    check_password,
    check_persistence,
    check_eviction,
    check_memory,
    check_visibility,
    check_queues,
    check_idle,
    check_beats,
    check_ready,
    check_threads,
    check_shared,
    check_writable,
    check_space,
    check_clocks,
    check_keras,
    check_names,
    check_flower,
)


def diagnose(facts: Facts) -> list[Finding]:
    """All findings, faults first."""
    order = list(Outcome)
    return sorted((check(facts) for check in CHECKS), key=lambda f: order.index(f.status))
