"""Names, shares and times as the report writes them."""

from datetime import datetime

from console.moments import in_utc
from producer.report.html import Markup, element

LONGEST_NAME = 60
LONGEST_NOTE = 1000
DASH = "—"
"""Stands for a figure that there is none of."""


def name(content: str, longest: int = LONGEST_NAME) -> Markup:
    """What a user called something: shortened, and with its own direction of writing."""
    return element("bdi", cut(content, longest))


def cut(content: str, longest: int = LONGEST_NAME) -> str:
    """A text of bounded length."""
    return content if len(content) <= longest else f"{content[: longest - 1]}…"


def percent(share: float) -> str:
    """A share with two decimals."""
    return f"{100 * share:.2f}\N{NO-BREAK SPACE}%"


def moment(time: datetime) -> Markup:
    """A time in UTC."""
    return element("time", in_utc(time), datetime=time.isoformat())
