"""What a check of the doctor comes to."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    FAULT = "fault"
    WARNING = "warning"
    SKIPPED = "skipped"
    OK = "ok"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The outcome of one check, and for a fault or warning the way out."""

    check: str
    status: Outcome
    message: str
    remedy: str | None = None


def ok(check: str, message: str) -> Finding:
    return Finding(check=check, status=Outcome.OK, message=message)


def skipped(check: str, message: str) -> Finding:
    """It could not be found out."""
    return Finding(check=check, status=Outcome.SKIPPED, message=message)


def fault(check: str, message: str, remedy: str) -> Finding:
    return Finding(check=check, status=Outcome.FAULT, message=message, remedy=remedy)


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
