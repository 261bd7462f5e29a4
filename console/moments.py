"""How a moment is written for people: everywhere in UTC, and saying so."""

from datetime import UTC, datetime


def in_utc(moment: datetime) -> str:
    """A moment with a time zone, to the second: `2026-03-01 08:30:00 UTC`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
