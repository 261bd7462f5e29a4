"""Error records, by kind of reason."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

EXAMPLES_SHOWN = 5
MOST_REASONS = 200
OTHERS = "other reasons"
NUMBER = re.compile(r"\b0x[0-9a-fA-F]+|(?<![^\Wx\d])(?<!\d)\d+(?:[.,]\d+)*")
"""Also in `28x28` and `5MB`, but not in a word such as `uint8`."""


class FailedImage(NamedTuple):
    image_id: str
    reason: str
    """The full one."""
    position: int
    """In the job."""


@dataclass
class Reason:
    """Error records that differ only in numbers, names and paths."""

    kind: str
    text: str
    """What they have in common: the whole reason as long as it is the same."""
    count: int = 0
    examples: list[FailedImage] = field(default_factory=list)
    """The first ones."""

    def add(self, image_id: str, reason: str, position: int) -> None:
        self.count += 1
        if reason != self.text:
            self.text = self.kind
        if len(self.examples) < EXAMPLES_SHOWN:
            self.examples.append(FailedImage(image_id, reason, position))


class FailureReasons:
    """Error records by kind of reason."""

    def __init__(self) -> None:
        self._kinds: dict[str, Reason] = {}

    def add(self, image_id: str, reason: str, position: int) -> None:
        kind = kind_of(reason)
        if kind not in self._kinds and len(self._kinds) >= MOST_REASONS:
            kind = OTHERS
        self._kinds.setdefault(kind, Reason(kind, reason)).add(image_id, reason, position)

    def __iter__(self) -> Iterator[Reason]:
        """The kinds, the commonest first."""
        return iter(sorted(self._kinds.values(), key=lambda group: (-group.count, group.kind)))


def kind_of(reason: str) -> str:
    """A reason without what differs from image to image: quoted text, paths and numbers."""
    kind = re.sub(r"'[^']*'|\"[^\"]*\"", "…", reason[:1000])
    kind = re.sub(r"(?<!\w)\S*/\S*", "…", kind)
    return NUMBER.sub("N", kind)
