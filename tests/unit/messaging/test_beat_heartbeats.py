"""Which beats live."""

from typing import Any

import pytest

from messaging.beat_heartbeats import living_beats


class Signs:
    """A Redis whose beats give the signs listed, one dict per look."""

    def __init__(self, *looks: dict[str, str]) -> None:
        self.looks = list(looks)

    def scan_iter(self, **_: Any) -> list[str]:
        self.now = {f"batchsight:beat:{name}": n for name, n in self.looks.pop(0).items()}
        return list(self.now)

    def get(self, key: str) -> str | None:
        return self.now.get(key)


@pytest.mark.parametrize(
    ("looks", "living"),
    [
        ([{}], ()),
        ([{"a": "1"}], ("a",)),
        ([{"a": "8", "b": "1"}, {"a": "8", "b": "3"}], ("b",)),
        ([{"a": "8", "b": "1"}, {"b": "3"}], ("b",)),
        ([{"a": "8", "b": "1"}, {"a": "10", "b": "3"}], ("a", "b")),
    ],
)
def test_a_beat_that_was_just_replaced_is_not_a_second_one(
    looks: list[dict[str, str]], living: tuple[str, ...]
) -> None:
    signs: Any = Signs(*looks)
    assert living_beats(signs, sleep=lambda _: None) == living
