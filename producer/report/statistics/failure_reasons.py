"""Error records, by kind of reason."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

EXAMPLES_SHOWN = 5
MOST_REASONS = 200


@dataclass
class Reason:
    """Error records that differ only in numbers, names and paths."""

    kind: str
    count: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)
    """Id and full reason of the first ones."""


class FailureReasons:
    """Error records by kind of reason."""

    def __init__(self) -> None:
        self._kinds: dict[str, Reason] = {}

    def add(self, image_id: str, reason: str) -> None:
        kind = kind_of(reason)
        if kind not in self._kinds and len(self._kinds) >= MOST_REASONS:
            kind = "other reasons"
        group = self._kinds.setdefault(kind, Reason(kind))
        group.count += 1
        if len(group.examples) < EXAMPLES_SHOWN:
            group.examples.append((image_id, reason))

    def __iter__(self) -> Iterator[Reason]:
        """The kinds, the commonest first."""
        return iter(sorted(self._kinds.values(), key=lambda group: (-group.count, group.kind)))


def kind_of(reason: str) -> str:
    """A reason without what differs from image to image: quoted text, paths and numbers."""
    kind = re.sub(r"'[^']*'|\"[^\"]*\"", "…", reason[:1000])
    kind = re.sub(r"(?<!\w)\S*/\S*", "…", kind)
    return re.sub(r"\b(0x[0-9a-fA-F]+|\d+(?:[.,]\d+)*)\b", "N", kind)
