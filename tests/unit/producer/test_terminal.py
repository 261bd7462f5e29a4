"""What is told of a job where no bar can be drawn."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from producer.following import Progress
from producer.terminal import show_progress
from storage.jobs.job import Status
from storage.jobs.store import JobStore
from storage.jobs.tally import Tally
from tests.builders import array_job
from tests.terminal import lines_on_terminal


def test_the_first_images_are_told_after_five_seconds_and_then_every_ten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = JobStore(tmp_path)
    job = array_job(store, np.zeros((100, 2, 2), np.uint8))
    tally, clock = Tally(store.of(job)), 0.0
    monkeypatch.setattr("producer.terminal.time.monotonic", lambda: clock)

    def progresses() -> Iterator[Progress]:
        nonlocal clock
        for second in range(1, 28):
            clock = float(second)
            images = 4 * max(0, second - 6)
            yield Progress(status=Status.RUNNING, batches=0, images=images, total=100, tally=tally)

    show_progress(job, progresses())
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(" images")[0] for line in told] == ["4 of 100", "44 of 100", "84 of 100"]


BAR = """
import time
from pathlib import Path
from producer.following import Progress
from producer.terminal import show_progress
from storage.jobs.job import Status

class Job:
    id, total = 60 * "long", 60_000_000

class Tally:
    failed = 1_234_567

def progresses():
    for images in range(0, 60_000_001, 20_000_000):
        yield Progress(
            status=Status.RUNNING, batches=0, images=images, total=Job.total, tally=Tally()
        )
        time.sleep(0.3)

show_progress(Job(), progresses())
"""


def test_the_bar_of_a_large_job_fits_80_columns() -> None:
    lines = [line.strip() for line in lines_on_terminal(BAR, columns=80, descriptor=2)]
    told = [line for line in lines if "of 60,000,000" in line]
    assert any("40,000,000 of 60,000,000 " in line for line in told)
    assert any(line.partition("images/s")[2].startswith(", 1,234,567 failed") for line in told)
    assert max(map(len, told)) <= 80
    assert "…" not in "".join(told)
