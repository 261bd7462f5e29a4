"""The schedule of a storm, and what its ledger explains."""

from dataclasses import replace

from tests.faults.storm.rage import unexplained_attempts
from tests.faults.storm.strikes import KINDS, Entry, Strike, schedule

STRIKE = Strike(kind="kill -9 of a child", worker="one", share=0.5, seconds=1.0, pause=0.0)
KILL = Entry(strike=STRIKE, began=105.0, ended=105.1)
FULL = Entry(strike=replace(STRIKE, kind="a full disk"), began=105.0, ended=106.0)


def start(key: str, at: float) -> dict[str, object]:
    return {"event": "start", "key": key, "at": at}


def end(key: str, outcome: str, seconds: float = 1.0) -> dict[str, object]:
    return {"event": "end", "key": key, "outcome": outcome, "seconds": seconds}


def test_a_seed_gives_one_schedule_with_every_kind_of_fault() -> None:
    assert schedule(7, 40) == schedule(7, 40)
    assert schedule(7, 40) != schedule(8, 40)
    assert {strike.kind for strike in schedule(7, len(KINDS))} == KINDS.keys()
    assert len(schedule(7, 3)) == 3


def test_a_death_is_explained_by_a_kill_at_its_time_only() -> None:
    log = [start("a", 104.9), start("b", 106.0), end("b", "done")]
    assert list(unexplained_attempts(log, [KILL])) == []
    assert list(unexplained_attempts(log, [])) == ["attempt 0 ended by no fault: died"]
    late = [start("a", 107.0), start("b", 109.0), end("b", "done")]
    assert list(unexplained_attempts(late, [KILL])) == ["attempt 0 ended by no fault: died"]


def test_storage_is_blamed_only_while_there_was_a_fault_of_storage() -> None:
    log = [start("a", 104.5), end("a", "storage: full"), start("b", 110.0), end("b", "done")]
    assert list(unexplained_attempts(log, [FULL])) == []
    assert list(unexplained_attempts(log, [KILL])) == ["attempt 0 ended by no fault: storage: full"]


def test_work_done_twice_and_errors_are_explained_by_nothing() -> None:
    twice = [start("a", 104.9), end("a", "done"), start("b", 106.0), end("b", "duplicate")]
    assert len(list(unexplained_attempts(twice, [KILL, FULL]))) == 2
    failed = [start("a", 104.9), end("a", "refused: The images are gone.")]
    assert len(list(unexplained_attempts(failed, [KILL, FULL]))) == 1
