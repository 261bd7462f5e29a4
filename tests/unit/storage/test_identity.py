"""Whether shared storage is there, and the same."""

import threading
from functools import partial
from pathlib import Path

import pytest

from storage.errors import Corrupt, StorageAway, StorageError
from storage.identity import ID_FILE, StorageWatch, present_id, storage_id
from storage.jobs.store import JobStore
from tests.builders import array_job, images_of


def test_looking_for_the_id_makes_none(tmp_path: Path) -> None:
    assert present_id(tmp_path / "root") is None
    assert not (tmp_path / "root").exists()


def test_many_who_begin_at_once_find_the_same_id(tmp_path: Path) -> None:
    found: list[str] = []
    barrier = threading.Barrier(16)

    def begin() -> None:
        barrier.wait()
        found.append(storage_id(tmp_path))

    threads = [threading.Thread(target=begin) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(found)) == 1
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == [Path(ID_FILE).name]


def test_storage_that_was_emptied_is_taken_over_with_its_first_job(tmp_path: Path) -> None:
    first = storage_id(tmp_path)
    watch = StorageWatch(tmp_path)
    assert watch.look() == first
    (tmp_path / ID_FILE).unlink()
    with pytest.raises(StorageAway, match="mount it, or point BATCHSIGHT_STORAGE"):
        watch.look()
    array_job(JobStore(tmp_path), images_of([1]))
    second = watch.look()
    assert second != first
    assert watch.look() == second


def test_storage_that_goes_away_is_missed_and_found_again(tmp_path: Path) -> None:
    root, away = tmp_path / "root", tmp_path / "away"
    identity = storage_id(root)
    watch = StorageWatch(root)
    assert watch.look() == identity
    for hidden in ("nothing", "a folder", "an id of its own"):
        root.rename(away)
        if hidden != "nothing":
            root.mkdir()
        if hidden == "an id of its own":
            storage_id(root)
        with pytest.raises(StorageAway):
            watch.look()
        if hidden == "an id of its own":
            (root / ID_FILE).unlink()
            (root / "jobs").rmdir()
        if hidden != "nothing":
            root.rmdir()  # empty: nothing was made in it
        away.rename(root)
        assert watch.look() == identity


@pytest.mark.parametrize("hidden", ["nothing", "a folder", "an empty folder of jobs"])
def test_what_is_looked_at_first_and_empty_is_waited_for(tmp_path: Path, hidden: str) -> None:
    root = tmp_path / "root"
    if hidden != "nothing":
        (root if hidden == "a folder" else root / "jobs").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    watch = StorageWatch(root)
    with pytest.raises(StorageAway, match="is empty: if it is new, submit a job"):
        watch.look()
    assert sorted(tmp_path.rglob("*")) == before, "nothing is made where a mount may belong"
    array_job(JobStore(root), images_of([1]))
    assert watch.look() == present_id(root)


def test_jobs_of_before_there_were_ids_get_one(tmp_path: Path) -> None:
    array_job(JobStore(tmp_path), images_of([1]))
    (tmp_path / ID_FILE).unlink()
    assert StorageWatch(tmp_path).look() == present_id(tmp_path)


def test_an_empty_storage_that_was_used_first_gives_way_to_one_with_jobs(tmp_path: Path) -> None:
    root = tmp_path / "root"
    first = storage_id(root)
    watch = StorageWatch(root)
    watch.look()
    root.rename(tmp_path / "covered")
    array_job(JobStore(root), images_of([1]))
    second = watch.look()
    assert second != first
    root.rename(tmp_path / "away")
    (tmp_path / "covered").rename(root)
    with pytest.raises(StorageAway, match="Another, empty folder lies at"):
        watch.look()


def test_storage_that_cannot_be_there_is_looked_for_again(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    watch = StorageWatch(tmp_path / "file" / "root")
    with pytest.raises(StorageError):
        watch.look()
    (tmp_path / "file").unlink()
    identity = storage_id(tmp_path / "file" / "root")
    assert watch.look() == identity


def test_the_storage_id_is_made_once_and_tells_folders_apart(tmp_path: Path) -> None:
    first = storage_id(tmp_path / "one")
    assert storage_id(tmp_path / "one") == first
    assert storage_id(tmp_path / "two") != first


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0a"], ids=["empty", "bytes"])
def test_a_damaged_storage_id_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "jobs" / "job").mkdir(parents=True)
    (tmp_path / ID_FILE).write_bytes(content)
    for look in (partial(storage_id, tmp_path), StorageWatch(tmp_path).look):
        with pytest.raises(Corrupt, match="remove it"):
            look()
