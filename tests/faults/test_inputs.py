"""Input files go, are cut short or replaced, models are damaged, the disk is full."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from producer.sources.packing import SMALL_FILE_BYTES
from storage.models.store import ModelStore
from tests.faults.conftest import BATCH_SIZE, House
from tests.faults.test_workers import assert_exact
from tests.processes import run, wait_for


def test_large_files_that_go_or_change_become_error_records_and_small_ones_need_not_stay(
    house: House, digits_folder: Path
) -> None:
    folder = house.storage / "pictures"
    folder.mkdir()
    for i, path in enumerate(sorted((digits_folder / "test").rglob("*.png"))[:50]):
        large = bytes(SMALL_FILE_BYTES) if i != 20 else b""
        (folder / f"{i:02d}.png").write_bytes(path.read_bytes() + large)
    intact = house.storage / "intact"
    shutil.copytree(folder, intact)
    house.submit(source=str(folder))
    (folder / "07.png").unlink()
    (folder / "20.png").unlink()
    content = (folder / "11.png").read_bytes()
    (folder / "11.png").write_bytes(content[:40])
    (folder / "13.png").write_bytes((folder / "14.png").read_bytes() + b"x")
    house.worker()
    summary = house.follow(code=3)
    assert summary["images"] == {"total": 50, "predicted": 47, "failed": 3}
    errors = (house.jobs.path("job") / "errors.jsonl").read_text().splitlines()
    reasons = {json.loads(e)["id"]: json.loads(e)["reason"] for e in errors}
    assert reasons.keys() == {"07.png", "11.png", "13.png"}
    house.run_undisturbed(intact)
    found, wanted = house.records(), house.records("reference")
    for name in reasons:
        assert found.pop(name)[0] is None
        del wanted[name]
    assert found == wanted


def test_an_array_replaced_after_submission_fails_the_job_by_name(house: House) -> None:
    house.submit()
    path = house.storage / "arrays" / "images.npy"
    np.save(path, np.zeros_like(np.load(path)))
    house.worker()
    wait_for(lambda: (house.jobs.path("job") / "stopped.json").exists(), "the job is stopped")
    done = run(house.environment, "producer", "status", "job", check=False)
    assert done.returncode == 1
    assert "have changed since it was submitted" in done.stdout + done.stderr


def test_a_damaged_model_fails_its_job_and_not_the_others(house: House, undisturbed: bytes) -> None:
    house.submit()
    version = ModelStore(house.storage).resolve("digits")
    copy = version.folder.with_name("2")
    shutil.copytree(version.folder, copy)
    with (copy / version.model_path.name).open("r+b") as file:
        file.seek(2000)
        file.write(b"damage")
    images = str(house.storage / "arrays" / "images.npy")
    command = ("producer", "submit", images, "--model", "digits@2", "--job-id", "other")
    run(house.environment, *command, "--no-wait")
    house.worker()
    failed = run(house.environment, "producer", "status", "other", "--follow", check=False)
    assert failed.returncode == 1
    assert "digits@2 is damaged" in failed.stdout + failed.stderr
    assert_exact(house, undisturbed)


@pytest.fixture
def small_disk(house: House) -> Iterator[Path]:
    """A file system of 2 MB for the jobs of the house."""
    folder = house.storage / "jobs"
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_stops_nothing_for_good(
    house: House, undisturbed: bytes, small_disk: Path
) -> None:
    house.submit()
    ballast = small_disk / "ballast"
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):
        while True:
            os.write(descriptor, bytes(4096))
    os.close(descriptor)
    worker = house.worker()
    worker.wait_for_log("No batches are taken. ")
    time.sleep(17)  # three pauses
    assert worker.log.count("No batches are taken. ") == 1
    assert house.done() < 3000 // BATCH_SIZE
    client = house.redis.client()
    waiting = client.llen("predict") + client.hlen("unacked.worker")
    assert house.done() + waiting == house.jobs.get("job").batches, "no message is swallowed"
    ballast.unlink()
    assert_exact(house, undisturbed)
    worker.wait_for_log("Batches are taken again.")
    assert worker.running
