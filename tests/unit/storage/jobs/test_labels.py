from pathlib import Path

import numpy as np
import pytest

from storage.jobs.corrections import add_corrections
from storage.jobs.job import Job
from storage.jobs.labels import KnownLabels, read_labels
from storage.jobs.store import JobStore
from tests.builders import array_job, file_job, image_file, images_of


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path)


def as_lists(labels: list[np.ndarray | None]) -> list[list[int] | None]:
    return [None if part is None else np.asarray(part).tolist() for part in labels]


def submitted(store: JobStore, job: Job) -> list[list[int] | None]:
    return as_lists([read_labels(store.of(job), batch) for batch in range(job.batches)])


def known(store: JobStore, job: Job) -> list[list[int] | None]:
    labels = KnownLabels(store.of(job))
    return as_lists([labels.of(batch) for batch in range(job.batches)])


def give(store: JobStore, job: Job, positions: list[int], labels: list[int]) -> None:
    add_corrections(store.of(job), np.array(positions, np.int64), np.array(labels, np.int32))


def test_labels_are_those_of_the_batch(store: JobStore) -> None:
    arrays = array_job(store, images_of(range(6)), [0, 1, 2, 2, 1, 0], id="arrays")
    files = file_job(store, [image_file(b"x", i, label=i % 3) for i in range(6)], id="files")
    unlabelled = file_job(store, [image_file(b"x", i) for i in range(6)], id="unlabelled")
    assert submitted(store, arrays) == [[0, 1, 2, 2], [1, 0]]
    assert submitted(store, files) == [[0, 1, 2, 0], [1, 2]]
    assert submitted(store, unlabelled) == [None, None]


def test_a_label_given_later_wins_over_the_submitted_one(store: JobStore) -> None:
    job = array_job(store, images_of(range(6)), [0, 1, 2, -1, 1, 0])
    assert known(store, job) == submitted(store, job)
    assert KnownLabels(store.of(job)).later == 0
    give(store, job, [1, 3], [2, 0])
    give(store, job, [1, 4], [0, 1])
    assert known(store, job) == [[0, 0, 2, 0], [1, 0]]
    assert KnownLabels(store.of(job)).later == 3
    assert submitted(store, job) == [[0, 1, 2, -1], [1, 0]]


def test_a_job_without_labels_has_those_given_later(store: JobStore) -> None:
    job = file_job(store, [image_file(b"x", i) for i in range(6)])
    give(store, job, [4], [2])
    assert known(store, job) == [[-1, -1, -1, -1], [2, -1]]
