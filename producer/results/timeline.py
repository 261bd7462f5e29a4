"""Where the time of a job went, from the logs of its attempts: phases that add up to its wall time.

Worker processes run side by side: what all did together counts by the share of one.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from producer.results.records import MERGE_FILE
from storage.jobs.stored_job import StoredJob

PHASES = {
    "submit": "reading the source and writing the job",
    "queue": "until the first worker process had its first batch",
    "model": "loading the model",
    "open": "opening the inputs of a batch",
    "read": "reading pixels",
    "decode": "decoding image files",
    "reuse": "taking over what was done already",
    "quarantine": "trying images one by one",
    "predict": "the model's own work",
    "write": "writing results",
    "count": "counting what is right and what failed",
    "untraced": "between these, inside a worker process",
    "hand-over": "from one batch of a process to its next",
    "lost": "attempts whose worker died",
    "idle": "worker processes without a batch",
    "unattended": "results were there, but nobody followed the job",
    "merge": "merging the predictions",
}
"""What is done in each, in the order in which a batch meets them."""


class Phase(BaseModel, frozen=True):
    """One phase and its part of the wall time."""

    name: str
    seconds: float


class Timeline(BaseModel, frozen=True):
    """The phases of a job, in the order in which a batch meets them."""

    wall_seconds: float
    """From the beginning of the submission to the merged predictions, or to the last attempt."""
    processes: int
    """Worker processes that were at work at the same time, at most."""
    phases: tuple[Phase, ...]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One attempt of one worker process, in seconds since 1970."""

    process: str
    began: float
    ended: float
    phases: dict[str, float]
    """Seconds by phase; empty for an attempt whose worker died."""
    lost: bool


def trace(stored: StoredJob) -> Timeline | None:
    """Tell where a job's time went; none when nobody has begun it."""
    job = stored.job
    turns = [turn for batch in range(job.batches) for turn in turns_of(stored, batch)]
    if not turns:
        return None
    created = job.created_at.timestamp()
    submitted = stored.submitted_at()
    first, last = min(turn.began for turn in turns), max(turn.ended for turn in turns)
    processes, work = share_out(turns, last - first)
    after = after_work(stored.folder, last)
    found = {"submit": submitted - created, "queue": first - submitted, **work, **after}
    phases = {name: found[name] for name in (*PHASES, *found.keys() - PHASES) if name in found}
    return Timeline(
        wall_seconds=round(last - created + sum(after.values()), 6),
        processes=processes,
        # Clocks of several machines may differ by more than a phase lasts.
        phases=tuple(Phase(name=n, seconds=round(s, 6)) for n, s in phases.items() if s > 0),
    )


def turns_of(stored: StoredJob, batch: int) -> list[Turn]:
    """All attempts at a batch; one without an end is taken to have lasted until the next began."""
    events = stored.attempts.events(batch)
    starts = [event for event in events if event["event"] == "start"]
    ends = {event["key"]: event for event in events if event["event"] == "end"}
    turns = []
    for number, start in enumerate(starts):
        end: dict[str, Any] | None = ends.get(start["key"])
        later = starts[number + 1]["at"] if number + 1 < len(starts) else start["at"]
        turns.append(
            Turn(
                process=str(start["process"]),
                began=start["at"],
                ended=start["at"] + end["seconds"] if end else later,
                phases=end["phases"] if end else {},
                lost=end is None,
            )
        )
    return turns


def share_out(turns: list[Turn], seconds: float) -> tuple[int, dict[str, float]]:
    """How many processes worked at once, and how each of them spent `seconds`, on average."""
    by_process: dict[str, list[Turn]] = defaultdict(list)
    for turn in turns:
        by_process[turn.process].append(turn)
    spent: dict[str, float] = defaultdict(float)
    lives = []
    for own in by_process.values():
        own.sort(key=lambda turn: turn.began)
        for turn, following in zip(own, [*own[1:], None], strict=True):
            until = turn.ended if following is None else min(turn.ended, following.began)
            length = max(0.0, until - turn.began)
            if turn.lost:
                spent["lost"] += length
                continue
            for name, phase in turn.phases.items():
                spent[name] += phase
            spent["untraced"] += length - sum(turn.phases.values())
            if following is not None:
                spent["hand-over"] += max(0.0, following.began - turn.ended)
        lives.append((own[0].began, max(turn.ended for turn in own)))
    processes = most_at_once(lives)
    spent["idle"] = processes * seconds - sum(spent.values())
    return processes, {name: total / processes for name, total in spent.items()}


def most_at_once(lives: list[tuple[float, float]]) -> int:
    """How many of these intervals overlap at most."""
    changes = sorted([(began, 1) for began, _ in lives] + [(ended, -1) for _, ended in lives])
    alive = most = 0
    for _, change in changes:
        alive += change
        most = max(most, alive)
    return max(1, most)


def after_work(folder: Path, last: float) -> dict[str, float]:
    """What came after the last attempt, if the job was merged."""
    try:
        times = json.loads((folder / MERGE_FILE).read_bytes())
    except FileNotFoundError:
        return {}
    followed = max(last, times["began_at"])
    return {"unattended": followed - last, "merge": max(0.0, times["ended_at"] - followed)}
