"""Whole stories of batches with deadly images, told over the log of attempts."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.jobs.attempts import Attempt, History, read_history
from tests.builders import Death, die_at
from worker.batches.quarantine import (
    CONVICTED_AFTER,
    HOPELESS_DEATHS,
    HOPELESS_TIMEOUTS,
    SUSPECT_AFTER,
    hopeless,
    is_suspect,
    killers,
    left_out,
    walk,
)

LEASE = 15.0


def run_attempt(log: Path, count: int, deadly: set[int], disasters: set[int]) -> set[int] | None:
    """One attempt at a batch as the runner makes it; the images left out, or none for a death.

    `disasters` are images of the next walk at which the worker dies of something else, once.
    """
    history = read_history(log, LEASE)
    attempt = Attempt(log)

    def try_image(image: int) -> None:
        if image in deadly or image in disasters:
            disasters.discard(image)
            raise Death

    skip = set(killers(history))
    try:
        if is_suspect(history):
            skip = set(walk(count, history, attempt, try_image))
        if deadly - skip:
            raise Death
    except Death:
        os.close(attempt._file)
        return None
    attempt.end("done")
    return skip


def run_until_done(
    log: Path, count: int, deadly: set[int], disasters: set[int] | None = None
) -> tuple[set[int], int]:
    """Attempts until the batch is done: the images left out and the deaths it cost."""
    disasters = set(disasters or ())
    for deaths in range(200):
        left_out = run_attempt(log, count, deadly, disasters)
        if left_out is not None:
            return left_out, deaths
    raise AssertionError("the batch never ends")


@settings(max_examples=60)
@given(st.integers(1, 60), st.data())
def test_exactly_the_killers_are_left_out(
    tmp_path_factory: pytest.TempPathFactory, count: int, data: st.DataObject
) -> None:
    deadly = data.draw(st.sets(st.integers(0, count - 1), max_size=5))
    log = tmp_path_factory.mktemp("batch") / "0.jsonl"
    left_out, deaths = run_until_done(log, count, deadly)
    assert left_out == deadly
    assert deaths == (SUSPECT_AFTER + CONVICTED_AFTER * len(deadly) if deadly else 0)


@settings(max_examples=60)
@given(st.integers(1, 40), st.data())
def test_an_innocent_image_at_which_the_worker_once_died_is_not_left_out(
    tmp_path_factory: pytest.TempPathFactory, count: int, data: st.DataObject
) -> None:
    deadly = data.draw(st.sets(st.integers(0, count - 1), max_size=2))
    innocent = data.draw(st.sets(st.integers(0, count - 1), max_size=4)) - deadly
    log = tmp_path_factory.mktemp("batch") / "0.jsonl"
    left_out, _ = run_until_done(log, count, deadly, innocent)
    assert left_out == deadly


def test_an_image_blamed_twice_is_not_convicted_and_blamed_three_times_is(tmp_path: Path) -> None:
    log = tmp_path / "0.jsonl"
    for blamed in range(1, CONVICTED_AFTER):
        die_at(log, 7)
        history = read_history(log, LEASE)
        assert dict(history.blamed) == {7: blamed}
        assert killers(history) == {}
    die_at(log, 7)
    convicted = killers(read_history(log, LEASE))
    assert convicted == {7: "kills the worker or exceeds the time limit (tried 3 times)"}


def test_one_death_of_a_batch_is_bad_luck_and_two_are_suspect(tmp_path: Path) -> None:
    log = tmp_path / "0.jsonl"
    assert not is_suspect(read_history(log, LEASE))
    die_at(log)
    assert not is_suspect(read_history(log, LEASE))
    die_at(log)
    assert is_suspect(read_history(log, LEASE))


def test_two_time_limits_are_suspect_as_well(tmp_path: Path) -> None:
    log = tmp_path / "0.jsonl"
    for suspect in (False, True):
        Attempt(log).end("timeout")
        assert is_suspect(read_history(log, LEASE)) is suspect


def test_a_batch_whose_images_all_survive_alone_is_suspect_no_more(tmp_path: Path) -> None:
    log = tmp_path / "0.jsonl"
    for _ in range(SUSPECT_AFTER):
        die_at(log)
    attempt = Attempt(log)
    assert walk(3, read_history(log, LEASE), attempt, lambda image: None) == {}
    os.close(attempt._file)
    history = read_history(log, LEASE)
    assert history.walk_done
    assert not is_suspect(history)


def test_a_walk_goes_on_where_the_last_one_died(tmp_path: Path) -> None:
    log = tmp_path / "0.jsonl"
    die_at(log, 0, 1, 2)
    tried: list[int] = []
    walk(5, read_history(log, LEASE), Attempt(log), tried.append)
    assert tried == [2, 3, 4]


def test_two_unexpected_errors_are_suspect_as_well(tmp_path: Path) -> None:
    log = tmp_path / "0.jsonl"
    for suspect in (False, True):
        Attempt(log).end("error: odd")
        assert is_suspect(read_history(log, LEASE)) is suspect


def test_a_batch_whose_walk_ended_with_a_death_is_walked_on(tmp_path: Path) -> None:
    log = tmp_path / "0.jsonl"
    die_at(log, 0, 1)
    history = read_history(log, LEASE)
    assert (history.deaths, dict(history.blamed)) == (0, {1: 1})
    assert is_suspect(history)


def test_an_image_that_raised_is_left_out_although_the_walk_died_later(tmp_path: Path) -> None:
    log = tmp_path / "0.jsonl"

    def raise_or_die(image: int) -> str | None:
        if image == 3:
            raise Death
        return "odd" if image == 1 else None

    attempt = Attempt(log)
    with pytest.raises(Death):
        walk(5, read_history(log, LEASE), attempt, raise_or_die)
    os.close(attempt._file)
    tried: list[int] = []
    attempt = Attempt(log)
    assert walk(5, read_history(log, LEASE), attempt, tried.append) == {1: "odd"}
    attempt.end("done")
    assert tried == [3, 4]
    assert left_out(read_history(log, LEASE)) == {1: "odd"}


def test_a_walk_announces_every_image_before_it_is_tried(tmp_path: Path) -> None:
    log = tmp_path / "0.jsonl"
    history = read_history(log, LEASE)

    def announced(image: int) -> None:
        assert read_history(log, LEASE).walked == image

    walk(4, history, Attempt(log), announced)


def history_of(**fields: int) -> History:
    known: dict[str, Any] = {"deaths": 0, "timeouts": 0, "errors": 0, "walked": 0, "attempts": 0}
    return History(live=False, blamed={}, walk_done=True, **(known | fields))


def test_a_batch_that_dies_again_and_again_without_a_culprit_is_given_up() -> None:
    assert hopeless(history_of(deaths=HOPELESS_DEATHS - 1)) is None
    reason = hopeless(history_of(deaths=HOPELESS_DEATHS))
    assert reason == f"its batch died with its worker {HOPELESS_DEATHS} times"
    assert hopeless(history_of(timeouts=HOPELESS_TIMEOUTS - 1)) is None
    reason = hopeless(history_of(timeouts=HOPELESS_TIMEOUTS))
    assert reason == f"its batch ran into the time limit of a step {HOPELESS_TIMEOUTS} times"


def test_there_is_time_for_a_walk_before_a_batch_is_given_up() -> None:
    assert SUSPECT_AFTER < HOPELESS_TIMEOUTS
    assert SUSPECT_AFTER < HOPELESS_DEATHS
