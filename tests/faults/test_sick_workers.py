"""A worker that cannot work takes nothing, says why, harms no job and recovers by itself."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from messaging.worker_heartbeats import WorkerHeartbeat, living_workers
from storage.identity import storage_id
from storage.models.store import ModelStore
from tests.faults.conftest import BATCHES, IMAGES, House
from tests.processes import Program, run, wait_for


def presence(house: House, name: str) -> WorkerHeartbeat:
    """The latest heartbeat of a worker."""
    found = living_workers(house.redis.client())
    wait_for(lambda: bool(found) or bool(found.update(living_workers(house.redis.client()))), name)
    return next(p for worker, p in found.items() if worker.startswith(f"{name}@"))


def predictions_in(content: bytes) -> list[str]:
    """The classes of all images in a predictions file."""
    found: list[str] = pq.read_table(io.BytesIO(content))["prediction"].to_pylist()
    return found


def assert_exact(house: House, undisturbed: bytes) -> None:
    assert house.follow()["images"] == {"total": IMAGES, "predicted": IMAGES, "failed": 0}
    assert house.predictions() == undisturbed
    assert house.jobs.open("job").stopped() is None


def worker_without(library: str, house: House, *, ready: bool) -> Program:
    """A worker that has a broken library in the place of this one."""
    broken = house.folder / "broken" / library
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('this one is broken')")
    healthy_environment = dict(house.environment)
    house.environment["PYTHONPATH"] = str(broken.parent)
    sick = house.worker("sick", concurrency=2, ready=ready)
    house.environment = healthy_environment
    return sick


def test_a_child_that_lacks_the_runtime_of_a_job_gives_it_back_and_says_why(
    house: House, undisturbed: bytes
) -> None:
    sick = worker_without("keras", house, ready=True)
    house.environment["BATCHSIGHT_RUNTIME"] = "tensorflow"
    house.submit()
    sick.wait_for_log("No batches are taken. A child is not ready: ImportError: this one is broken")
    house.worker("healthy")
    assert house.follow()["images"] == {"total": IMAGES, "predicted": IMAGES, "failed": 0}
    assert predictions_in(house.predictions()) == predictions_in(undisturbed)
    assert house.jobs.open("job").stopped() is None
    assert sick.running


def test_children_that_cannot_prepare_take_nothing_and_say_why(
    house: House, undisturbed: bytes
) -> None:
    sick = worker_without("onnxruntime", house, ready=False)
    sick.wait_for_log("No batches are taken. A child is not ready: ImportError: this one is broken")
    assert "Install what locks/worker.txt names." in sick.log
    house.submit()
    time.sleep(2)
    client = house.redis.client()
    assert (client.llen("predict"), client.hlen("unacked.worker")) == (BATCHES, 0)
    assert "this one is broken" in (presence(house, "sick").problem or "")
    house.worker("healthy")  # one child gives the bytes that two have given
    assert_exact(house, undisturbed)
    assert sick.running
    assert "received" not in sick.log


def test_a_child_that_dies_before_the_broker_is_there_does_not_end_its_worker(
    house: House, undisturbed: bytes
) -> None:
    house.redis.kill()
    worker = house.worker(concurrency=2)
    worker.wait_for_log("Cannot connect to")
    os.kill(worker.children()[0], signal.SIGKILL)
    house.redis.start()
    worker.wait_for_log("Ready with", 3)
    house.submit()
    assert_exact(house, undisturbed)
    assert worker.running


def test_storage_that_goes_away_in_the_middle_fails_nothing(
    house: House, undisturbed: bytes
) -> None:
    worker = house.worker(concurrency=2, seconds_per_call=0.2)
    house.submit()
    house.wait_until_done(4)
    away = house.storage.with_name("away")
    house.storage.rename(away)
    worker.wait_for_log("No batches are taken. ")
    client = house.redis.client()
    wait_for(lambda: client.hlen("unacked.worker") == 0, "the batches in hand are given back", 30)
    wait_for_presence(house, usable=False)
    missing = f"is not there at {house.storage}"  # a child may have been first, about its file
    wait_for(lambda: missing in (presence(house, "worker").problem or ""), "that is said", 20)
    assert not house.storage.exists(), "nothing is created where storage belongs"
    away.rename(house.storage)
    assert_exact(house, undisturbed)
    assert wait_for_presence(house, usable=True).problem is None
    assert worker.running


def wait_for_presence(house: House, *, usable: bool) -> WorkerHeartbeat:
    def is_seen() -> bool:
        return (presence(house, "worker").storage_id is not None) == usable

    wait_for(is_seen, f"the storage is seen as usable: {usable}", 20)
    return presence(house, "worker")


@pytest.fixture
def mounted(house: House) -> Iterator[Path]:
    """The storage a second time, mounted elsewhere."""
    folder = house.folder / "mounted"
    folder.mkdir()
    bind = ["mount", "--bind", str(house.storage), str(folder)]
    if subprocess.run(bind, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount")
    yield folder
    for program in house.programs:
        program.kill()
    while subprocess.run(["umount", "-l", folder], capture_output=True, check=False).returncode:
        break


def test_a_worker_without_its_storage_from_the_beginning_takes_and_creates_nothing(
    house: House, undisturbed: bytes
) -> None:
    empty = house.folder / "empty"
    empty.mkdir()
    its_own = dict(house.environment)
    house.environment["BATCHSIGHT_STORAGE"] = str(empty)
    strange = house.worker("strange")
    house.environment = its_own
    house.submit()
    time.sleep(12)  # longer than a pause
    told = f"Shared storage at {empty} is empty: if it is new, submit a job; if not, mount it"
    assert strange.log.count("No batches are taken. ") == 1
    assert f"No batches are taken. {told}" in strange.log
    client = house.redis.client()
    assert (client.llen("predict"), client.hlen("unacked.worker")) == (BATCHES, 0)
    assert told in (presence(house, "strange").problem or "")
    empty.rmdir()  # nothing was created in it
    empty.symlink_to(house.storage)
    strange.wait_for_log("Batches are taken again.")
    assert_exact(house, undisturbed)


def test_a_worker_on_new_storage_waits_for_whoever_uses_it_first(
    house: House, undisturbed: bytes
) -> None:
    worker = house.worker()
    worker.wait_for_log(f"No batches are taken. Shared storage at {house.storage} is empty")
    assert not (house.storage / "jobs").exists()
    house.submit()
    worker.wait_for_log("received", seconds=10)
    assert_exact(house, undisturbed)


def test_the_doctor_finds_a_worker_on_new_storage_well(house: House) -> None:
    worker = house.worker()
    worker.wait_for_log("No batches are taken. ")
    worker.wait_for_log("ready.")  # the main process answers the doctor only from here on
    asked = run(house.environment, "producer", "doctor", "--json", check=False)
    found = {finding["check"]: finding for finding in json.loads(asked.stdout)}
    assert {found[check]["status"] for check in ("shared", "ready", "idle")} == {"ok"}
    assert found["queues"]["message"] == "No worker listens on train."


def test_a_worker_without_its_mount_leaves_the_work_to_the_others(
    house: House, mounted: Path, undisturbed: bytes
) -> None:
    storage_id(house.storage)
    own = dict(house.environment)
    house.environment["BATCHSIGHT_STORAGE"] = str(mounted)
    sick = house.worker("sick")
    house.environment = own
    subprocess.run(["umount", "-l", mounted], check=True)
    sick.wait_for_log("No batches are taken. ")
    house.worker("healthy", seconds_per_call=0.1)
    taken = sick.log.count("received")
    house.submit()
    assert_exact(house, undisturbed)
    assert sick.log.count("received") == taken
    assert list(mounted.iterdir()) == []
    begun = sick.log.count("Started consuming from predict")
    subprocess.run(["mount", "--bind", house.storage, mounted], check=True)
    sick.wait_for_log("Started consuming from predict", begun + 1)


def test_a_worker_on_read_only_storage_takes_nothing_and_whoever_follows_a_job_is_told_so(
    house: House, mounted: Path, undisturbed: bytes
) -> None:
    storage_id(house.storage)
    subprocess.run(["mount", "-o", "remount,bind,ro", mounted], check=True)
    own = dict(house.environment)
    house.environment["BATCHSIGHT_STORAGE"] = str(mounted)
    sick = house.worker("sick")
    house.environment = own
    told = f"Shared storage at {mounted} is read-only here: jobs must be writable."
    sick.wait_for_log(f"No batches are taken. {told}")
    house.submit()
    waiting = house.popen("producer", "status", "job", "--follow", "--json")
    time.sleep(14)
    house.worker("healthy", seconds_per_call=0.1)
    _, errors = waiting.communicate(timeout=120)
    assert waiting.returncode == 0
    assert f"No worker takes batches. sick@{socket.gethostname()} says: {told}" in errors
    assert "other jobs" not in errors
    assert house.predictions() == undisturbed
    assert "received" not in sick.log


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """A group with memory for one child, not for four."""
    group = Path(f"/sys/fs/cgroup/memory/batchsight-test-{os.getpid()}")
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no cgroups of version 1 that this user may make")
    (group / "memory.limit_in_bytes").write_text("900000000")
    yield group
    wait_for(lambda: not (group / "cgroup.procs").read_text(), "the group is empty")
    group.rmdir()


def use_tensorflow(house: House) -> None:
    """Have the model run in the runtime that takes much memory."""
    version = ModelStore(house.storage).resolve("digits")
    alone = version.manifest.model_copy(update={"onnx_sha256": None, "runtime": None})
    (version.folder / "manifest.json").write_text(alone.model_dump_json())


def test_children_that_memory_is_too_small_for_are_said_and_become_fewer(
    house: House, little_memory: Path, undisturbed: bytes, request: pytest.FixtureRequest
) -> None:
    storage_id(house.storage)
    use_tensorflow(house)
    celery = f"{sys.executable} -m celery -A worker worker -l INFO -n worker@%h -c 4"
    join = f"echo $$ > {little_memory}/cgroup.procs && exec {celery}"
    worker = Program(["sh", "-c", join], house.folder / "worker.log", house.environment)
    request.addfinalizer(worker.kill)
    worker.wait_for_log("A child died before it was ready. Memory is what most often kills it")
    assert "and there are 0.9 GB. Give the worker more, or set BATCHSIGHT_CONCURRENCY" in worker.log
    worker.wait_for_log("There is too little memory: the pool shrinks to ", seconds=200)
    worker.wait_for_log("Started consuming from predict", seconds=200)
    house.submit()
    assert house.follow()["images"] == {"total": IMAGES, "predicted": IMAGES, "failed": 0}
    assert predictions_in(house.predictions()) == predictions_in(undisturbed)
