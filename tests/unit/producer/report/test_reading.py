"""What a report reads of storage: every file of a batch once."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

from messaging.settings import BrokerSettings
from producer.cli import cli
from producer.client import PredictionClient
from producer.settings import ProducerSettings
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.settings import StorageSettings
from tests.builders import encode, file_job, image_file, images_of, publish
from tests.fake_queue import FakeWorker


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """How often each file was opened, by the name of its folder and its own."""
    counts: Counter[tuple[str, str]] = Counter()

    def counting(open_it: Callable[..., Any]) -> Callable[..., Any]:
        def opening(path: Any, *arguments: Any, **named: Any) -> Any:
            if isinstance(path, str | bytes | Path):
                known = Path(os.fsdecode(path))
                counts[known.parent.name, known.name] += 1
            return open_it(path, *arguments, **named)

        return opening

    monkeypatch.setattr(os, "open", counting(os.open))
    monkeypatch.setattr(pa, "memory_map", counting(pa.memory_map))
    return counts


@pytest.mark.parametrize("finished", [5, 3])
def test_a_report_reads_every_file_of_a_batch_once(
    tmp_path: Path, opened: Counter[tuple[str, str]], finished: int
) -> None:
    store, models = JobStore(tmp_path), ModelStore(tmp_path)
    files = [image_file(encode(images_of([i])[0]), i, label=(i + 1) % 3) for i in range(20)]
    # Without its model no picture is shown: these read pixels, one image at a time.
    model = publish(models).pin.model_copy(update={"sha256": "1" * 64})
    job = file_job(store, files, model=model, batch_size=4)
    worker = FakeWorker(store, {3: "damaged image", 6: "damaged image"})
    for batch in range(finished):
        store.of(job).attempts.begin(batch).end("done", {"predict": 0.001})
        store.of(job).results.write(batch, worker.result(job, batch))
    client = PredictionClient(
        storage=StorageSettings(storage=tmp_path),
        broker=BrokerSettings(),
        settings=ProducerSettings(),
    )
    opened.clear()
    outcome = CliRunner().invoke(cli, ["report", job.id], obj=client)
    assert "Wrote " in outcome.output
    told = (store.path(job.id) / "report.html").read_text("utf-8")
    assert told.count('<span class="faint">image ') == 4 * finished - 2
    for folder in ("results", "inputs", "attempts"):
        counts = {name: count for (where, name), count in opened.items() if where == folder}
        assert set(counts.values()) == {1}, folder
        assert len(counts) == finished or folder == "attempts"
