"""What survives a power cut: seen by what is synced and renamed, in which order."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from producer.results.merging import merge
from storage.errors import ConflictingResult
from storage.files import write_atomically
from storage.jobs.job import Status
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import (
    add_dataset,
    array_job,
    describe_job,
    image_file,
    image_files,
    images_of,
    publish,
    result_of,
)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is made durable and what is renamed, in order, by name."""
    events: list[str] = []
    fsync, rename = os.fsync, os.rename

    def recorded_fsync(descriptor: int) -> None:
        events.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def recorded_rename(source: Path, target: Path, **options: Any) -> None:
        events.append(f"rename {Path(target).name}")
        rename(source, target, **options)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, recorded_rename)
    return events


def without_suffix(events: list[str]) -> list[str]:
    return [re.sub(r"-[0-9a-f]{8,16}$", "", event) for event in events]


def test_a_durable_file_is_synced_before_it_is_put_into_place_and_its_name_after(
    tmp_path: Path, disk: list[str]
) -> None:
    (tmp_path / "folder").mkdir()
    write_atomically(tmp_path / "folder" / "file", b"content")
    assert without_suffix(disk) == ["sync .new-file", "rename file", "sync folder"]
    disk.clear()
    write_atomically(tmp_path / "folder" / "file", b"content", durable=False)
    assert disk == ["rename file"]


def test_a_job_is_synced_as_a_whole_before_it_is_visible_and_its_name_when_it_is_settled(
    tmp_path: Path, disk: list[str]
) -> None:
    store = JobStore(tmp_path)
    job = describe_job(total=2, batch_size=1)
    with store.draft() as draft:
        for batch in range(2):
            draft.add_pack(batch, image_files([image_file(b"content")]))
        disk.clear()
        store.commit(draft, job)
    visible = disk.index("rename job")
    assert {"sync job.json", "sync 000000.arrow", "sync 000001.arrow", "sync inputs"} <= set(
        disk[:visible]
    )
    assert f"sync {draft.folder.name}" in disk[:visible]
    disk.clear()
    store.settle()
    assert disk == ["sync jobs"]


def test_merged_records_are_synced_before_the_merge_counts_as_done(
    tmp_path: Path, disk: list[str]
) -> None:
    store = JobStore(tmp_path)
    job = array_job(store, images_of(range(4)))
    store.of(job).results.write(0, result_of([0, 1, 2, -1], {3: "damaged image"}))
    disk.clear()
    merge(store.of(job))
    events = without_suffix(disk)
    done = events.index("rename predictions.parquet")
    assert events[done + 1 :] == ["sync job"]
    assert {"sync .new-predictions.parquet", "sync .new-errors.jsonl"} <= set(events[:done])
    assert "rename errors.jsonl" in events[:done]


def test_a_stop_is_durable_and_a_result_need_not_be(tmp_path: Path, disk: list[str]) -> None:
    store = JobStore(tmp_path)
    job = describe_job()
    with store.draft() as draft:
        store.commit(draft, job)
    disk.clear()
    store.of(job).stop(Status.FAILED, "reason")
    assert without_suffix(disk) == ["sync .new-stopped.json", "rename stopped.json", "sync job"]
    disk.clear()
    store.of(job).results.write(0, result_of([0] * 4))
    assert disk == ["rename 000000.npz"]
    disk.clear()
    with pytest.raises(ConflictingResult):
        store.of(job).results.write(0, result_of([1] * 4))
    assert without_suffix(disk) == ["sync .new-000000.npz", "rename 000000.npz", "sync conflicts"]


def test_a_model_version_is_synced_before_it_can_be_seen_and_its_name_after(
    tmp_path: Path, disk: list[str]
) -> None:
    publish(ModelStore(tmp_path))
    visible = disk.index("rename 1")
    assert {"sync model.keras", "sync manifest.json"} <= set(disk[:visible])
    assert disk[visible + 1 :] == ["sync digits"]


def test_a_data_set_is_synced_before_it_can_be_seen_and_its_name_after(
    tmp_path: Path, disk: list[str]
) -> None:
    add_dataset(tmp_path, [0, 1, 2])
    visible = disk.index("rename 1")
    images = {event for event in disk[:visible] if event.endswith(".npy")}
    assert {"sync train_images.npy", "sync test_labels.npy"} <= images
    assert disk[visible + 1 :] == ["sync digits", "sync datasets"]
