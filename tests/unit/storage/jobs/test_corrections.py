from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from storage.errors import Corrupt
from storage.jobs.corrections import add_corrections, read_corrections
from storage.jobs.job import Job
from storage.jobs.store import JobStore
from tests.builders import array_job, images_of


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path)


@pytest.fixture
def job(store: JobStore) -> Job:
    return array_job(store, images_of(range(10)))


def give(store: JobStore, job: Job, **labels: int) -> tuple[int, int]:
    """Labels by position, as in _3=1."""
    positions = np.array([int(name[1:]) for name in labels], np.int64)
    return add_corrections(store.of(job), positions, np.array(list(labels.values()), np.int32))


def files(store: JobStore, job: Job) -> list[str]:
    return sorted(p.name for p in (store.path(job.id) / "labels").glob("*.npz"))


def test_labels_accumulate_and_later_ones_win(store: JobStore, job: Job) -> None:
    assert read_corrections(store.of(job)).tolist() == [-1] * 10
    assert give(store, job, _3=1, _7=0) == (2, 0)
    assert give(store, job, _7=2, _0=1, _3=1) == (1, 1)
    assert read_corrections(store.of(job)).tolist() == [1, -1, -1, 1, -1, -1, -1, 2, -1, -1]
    assert files(store, job) == ["000001.npz", "000002.npz"]


def test_the_same_labels_again_write_nothing(store: JobStore, job: Job) -> None:
    give(store, job, _3=1)
    assert give(store, job, _3=1) == (0, 0)
    assert files(store, job) == ["000001.npz"]


def test_many_writers_at_once_lose_nothing(store: JobStore, job: Job) -> None:
    with ThreadPoolExecutor(5) as pool:
        counts = list(pool.map(lambda i: give(store, job, **{f"_{i}": i % 3}), range(10)))
    assert counts == [(1, 0)] * 10
    assert read_corrections(store.of(job)).tolist() == [i % 3 for i in range(10)]


@pytest.mark.parametrize("content", [b"", b"PK nonsense"])
def test_a_damaged_file_is_named(store: JobStore, job: Job, content: bytes) -> None:
    give(store, job, _3=1)
    (store.path(job.id) / "labels" / "000001.npz").write_bytes(content)
    with pytest.raises(Corrupt, match=r"000001\.npz are damaged"):
        read_corrections(store.of(job))


@pytest.mark.parametrize(("position", "label"), [(10, 1), (-1, 1), (3, 3), (3, -2)])
def test_a_label_of_no_image_or_class_is_damage(
    store: JobStore, job: Job, position: int, label: int
) -> None:
    give(store, job, _3=1)
    path = store.path(job.id) / "labels" / "000002.npz"
    np.savez(path, position=np.array([position]), label=np.array([label], np.int32))
    with pytest.raises(Corrupt, match="damaged"):
        read_corrections(store.of(job))


def test_a_torn_write_leaves_no_label(store: JobStore, job: Job) -> None:
    give(store, job, _3=1)
    (store.path(job.id) / "labels" / ".new-000002.npz-1234").write_bytes(b"half")
    assert give(store, job, _4=1) == (1, 0)
    assert read_corrections(store.of(job)).tolist()[3:5] == [1, 1]
