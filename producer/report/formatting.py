"""Names, figures and times as the report writes them."""

from collections.abc import Iterable
from datetime import datetime

from console.moments import in_utc
from console.shortening import shortened
from producer.report.html import Markup, element

LONGEST_NAME = 40
LONGEST_NOTE = 1000
LONG_NAME = 10


def name(content: str, longest: int = LONGEST_NAME) -> Markup:
    """What a user called something: shortened, with all of it to be pointed at.

    It has its own direction of writing.
    """
    short = shortened(content, longest)
    whole = cut(content, LONGEST_NOTE) if short != content else None
    return element("bdi", short, title=whole)


def have_long_names(labels: Iterable[str]) -> bool:
    """Whether names need room of their own on a phone, or on a card."""
    return any(len(label) > LONG_NAME for label in labels)


def cut(content: str, longest: int) -> str:
    """A text of bounded length without its end."""
    return content if len(content) <= longest else f"{content[: longest - 1]}…"


def percent(share: float) -> str:
    """A share of images, always with two decimals."""
    return f"{100 * share:.2f}\N{NO-BREAK SPACE}%"


def fraction(value: float) -> str:
    """A score or a distance, 0 to 1, always with four decimals."""
    return f"{value:.4f}"


def moment(time: datetime) -> Markup:
    """A time in UTC."""
    return element("time", in_utc(time), datetime=time.isoformat())
