from pathlib import Path

import numpy as np
import pytest

from evaluation.ranking import FAILED
from storage.errors import Corrupt
from storage.jobs.corrections import add_corrections
from storage.jobs.job import Job
from storage.jobs.labels import KnownLabels
from storage.jobs.result_store import ResultStore
from storage.jobs.results import BatchResult
from storage.jobs.store import JobStore
from storage.jobs.tally import Tally
from tests.builders import LABELS, array_job, encode, file_job, image_file, images_of, result_of


class CountingResults(ResultStore):
    """Remembers which results were read."""

    def __init__(self, folder: Path, job: Job) -> None:
        super().__init__(folder, job)
        self.reads: list[int] = []

    def read(self, batch: int) -> BatchResult:
        self.reads.append(batch)
        return super().read(batch)


def test_results_are_counted_as_they_appear_and_read_once(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    job = array_job(store, images_of(range(10)), [0, 1, 2] * 3 + [0])
    stored = store.of(job)
    stored.results = results = CountingResults(stored.folder, job)
    tally = Tally(stored)
    tally.refresh()
    assert (tally.batches, tally.predicted, tally.failed, tally.complete) == (0, 0, 0, False)
    assert tally.evaluation.accuracy is None

    store.of(job).results.write(2, result_of([1, 1]))
    tally.refresh()
    tally.refresh()
    assert (tally.batches, tally.predicted, tally.failed) == (1, 2, 0)
    assert tally.evaluation.accuracy == 0.0

    store.of(job).results.write(0, result_of([0, 1, 2, FAILED], {3: "damaged image"}))
    store.of(job).results.write(1, result_of([1, 2, 0, 0]))
    tally.refresh()
    assert (tally.batches, tally.predicted, tally.failed) == (3, 9, 1)
    assert tally.complete
    assert results.reads == [2, 0, 1]
    assert tally.failed == 1
    # Labels are 0 1 2 0 | 1 2 0 1 | 2 0: six of nine are right, the failed image does not count.
    assert tally.evaluation.count == 9
    assert tally.evaluation.accuracy == pytest.approx(6 / 9)
    assert tally.evaluation.labels == LABELS


def test_unlabelled_images_count_as_predicted_but_not_for_the_accuracy(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    content = encode(images_of([1])[0])
    job = file_job(store, [image_file(content, i, label=(i if i < 2 else -1)) for i in range(4)])
    tally = Tally(store.of(job))
    store.of(job).results.write(0, result_of([0, 2, 1, 1]))
    tally.refresh()
    assert tally.predicted == 4
    assert tally.evaluation.count == 2
    assert tally.evaluation.accuracy == 0.5


def test_a_damaged_result_is_not_counted(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    job = array_job(store, images_of(range(10)))
    store.of(job).results.path(0).write_bytes(b"PK torn")
    tally = Tally(store.of(job))
    with pytest.raises(Corrupt):
        tally.refresh()
    assert tally.batches == 0


def test_labels_given_later_count_when_they_are_asked_for(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    job = array_job(store, images_of(range(3)), [0, 1, 1], batch_size=3)
    store.of(job).results.write(0, result_of([0, 2, 2]))
    add_corrections(store.of(job), np.array([1, 2]), np.array([2, 0], np.int32))
    known, submitted = Tally(store.of(job), KnownLabels(store.of(job))), Tally(store.of(job))
    for tally in (known, submitted):
        tally.refresh()
    assert known.evaluation.accuracy == pytest.approx(2 / 3)
    assert submitted.evaluation.accuracy == pytest.approx(1 / 3)
    assert (known.labelled_later, submitted.labelled_later) == (2, 0)
