"""Which workers live, and which have one name."""

from typing import Any

import pytest

from messaging.worker_heartbeats import WorkerHeartbeat, living_workers, namesakes


def heartbeat(name: str, process: str, sent_at: float) -> WorkerHeartbeat:
    return WorkerHeartbeat(
        worker=name,
        host="one",
        machine="m",
        cpus=(0,),
        cores=1,
        children=1,
        storage="/srv",
        storage_id="a",
        keras=None,
        process=process,
        sent_at=sent_at,
    )


class Signs:
    """A Redis with the heartbeats listed, one list of name, process and time per look."""

    def __init__(self, *looks: list[tuple[str, str, float]]) -> None:
        self.looks = list(looks)

    def scan_iter(self, **_: Any) -> list[str]:
        now = [heartbeat(*sign) for sign in self.looks.pop(0)]
        self.now = {f"{sign.worker}:{sign.process}": sign.model_dump_json() for sign in now}
        return list(self.now)

    def get(self, key: str) -> str | None:
        return self.now.get(key)


@pytest.mark.parametrize(
    ("looks", "found"),
    [
        ([[]], {}),
        ([[("a", "1", 8.0), ("b", "2", 8.0)]], {}),
        ([[("a", "1", 8.0), ("a", "2", 9.0)], [("a", "1", 8.0), ("a", "2", 13.0)]], {}),
        ([[("a", "1", 8.0), ("a", "2", 9.0)], [("a", "2", 13.0)]], {}),
        (
            [[("a", "1", 8.0), ("a", "2", 9.0)], [("a", "1", 12.0), ("a", "2", 13.0)]],
            {"a": ["1", "2"]},
        ),
    ],
)
def test_a_worker_that_was_just_replaced_is_no_namesake(
    looks: list[list[tuple[str, str, float]]], found: dict[str, list[str]]
) -> None:
    signs: Any = Signs(*looks)
    several = namesakes(signs, sleep=lambda _: None)
    assert {name: [sign.process for sign in all_] for name, all_ in several.items()} == found


def test_of_a_worker_and_its_successor_the_latest_sign_counts() -> None:
    signs: Any = Signs([("a", "2", 9.0), ("a", "1", 8.0)])
    assert living_workers(signs)["a"].process == "2"
