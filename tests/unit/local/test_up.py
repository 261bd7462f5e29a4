"""What `python -m local up` says when all that it runs is ready."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from local.up import Log, Opening, closing_words
from storage.models.store import ModelStore
from tests.builders import publish

URL = "http://127.0.0.1:5555"
DESK = "http://127.0.0.1:5556"


def test_the_last_words_come_once_when_every_program_is_ready() -> None:
    page = StringIO()
    opening = Opening(Log(Console(file=page)), ["Everything runs."])
    lines = [
        ("flower", "[I 261127] Visit me at http://127.0.0.1:5555"),
        ("worker", "Ready with mnist@1"),
        ("desk", "Desk at http://127.0.0.1:5556"),
        ("beat", "beat: Starting..."),
        ("worker", "Task worker.sweep[1] received"),
        ("redis", "ready."),
        ("trainer", "trainer@host ready."),
        ("worker", "Ready with mnist@1"),
    ]
    for name, line in lines:
        opening(name, line)
    shown = [line.split("│ ")[1] for line in page.getvalue().splitlines()]
    told = [line for _, line in lines if "sweep" not in line]
    assert shown == [*told[:-1], "Everything runs.", told[-1]]


def test_they_say_where_flower_is_and_what_to_type_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    models = ModelStore(tmp_path)
    words = closing_words(models, desk_url=DESK, flower_url=URL, moved_redis=None)
    assert words[3:5] == [f"  desk     {DESK}", f"  Flower   {URL}"]
    assert words[-3:-1] == [
        "  trainer train --dataset mnist --queue",
        "  producer submit mnist:test",
    ]
    publish(models)
    words = closing_words(
        models,
        desk_url=DESK,
        flower_url="http://127.0.0.1:5599",
        moved_redis="redis://127.0.0.1:7000/0",
    )
    assert words[-4:-1] == [
        "  export BATCHSIGHT_REDIS_URL=redis://127.0.0.1:7000/0   # port 6379 is taken",
        "  export BATCHSIGHT_FLOWER_URL=http://127.0.0.1:5599   # port 5555 is taken",
        "  producer submit FOLDER",
    ]
    assert max(len(line) for line in words if str(tmp_path) not in line) <= 80
