"""Packing on several processes: from a process of its own, as one with threads does not fork."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from producer.sources.packing import Listed, Packer, pack_images, packers
from producer.sources.source import Request
from storage.jobs.inputs import read_pack
from storage.jobs.store import JobDraft
from tests.builders import LABELS, SHAPE
from tests.processes import wait_for

FILES = 60

PACK = """
import sys
from pathlib import Path
from tests.unit.producer.sources.test_packing import prepare
print(prepare(Path(sys.argv[1])))
"""

LINGER = """
import multiprocessing, sys, time
from pathlib import Path
from producer.sources.packing import packers
from tests.unit.producer.sources.test_packing import listed, packer
with packers(packer(Path(sys.argv[1])), small=False) as pack:
    first = next(pack((batch, [item]) for batch, item in enumerate(listed(Path(sys.argv[1])))))
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    time.sleep(60)
"""


def request(root: Path) -> Request:
    return Request(
        root=root,
        job_id="job",
        model="digits@1",
        labels=LABELS,
        shape=SHAPE,
        limit=None,
        batch_size=None,
        array_batch_size=5_000,
        file_batch_size=2,
        max_image_bytes=100,
    )


def packer(folder: Path) -> Packer[Listed]:
    draft = JobDraft(folder / "draft")
    draft.inputs.mkdir(parents=True, exist_ok=True)
    return Packer(draft, request(folder), as_listed)


def as_listed(item: Listed) -> Listed:
    return item


def listed(folder: Path) -> list[Listed]:
    return [
        Listed(
            id=f"{i:03d}",
            path=f"{i:03d}.png",
            file=str(folder / f"{i:03d}.png"),
            stored=None,
            label=LABELS[i % len(LABELS)] if i % 2 else None,
        )
        for i in range(FILES)
    ]


def prepare(folder: Path) -> str:
    draft = packer(folder).draft
    done = pack_images(listed(folder), as_listed, draft, request(folder), str(folder))
    return f"{done.total} {done.labelled} {done.batch_size} {done.fingerprint}"


def run(script: str, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(FILES):
        (tmp_path / f"{i:03d}.png").write_bytes(bytes([i]) * (200 if i == 7 else 50))
    (tmp_path / "011.png").unlink()
    return tmp_path


def packs(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((folder / "draft" / "inputs").iterdir())]


def test_all_cores_pack_the_same_as_one_in_the_same_order(folder: Path) -> None:
    alone = prepare_with_a_thread(folder)
    expected = packs(folder)
    assert len(expected) == FILES // 2
    for path in (folder / "draft" / "inputs").iterdir():
        path.unlink()
    with run(PACK, folder) as process:
        output, _ = process.communicate()
    assert output.strip() == alone
    assert packs(folder) == expected


def test_a_file_that_cannot_be_taken_is_kept_with_its_reason(folder: Path) -> None:
    with run(PACK, folder) as process:
        process.wait()
    images = [
        image
        for path in sorted((folder / "draft" / "inputs").iterdir())
        for image in read_pack(path)
    ]
    assert {image.id: image.refused for image in images if image.refused} == {
        "007": "file too large: the limit is 100 bytes (BATCHSIGHT_MAX_IMAGE_BYTES)",
        "011": "file cannot be read: No such file or directory",
    }


def test_a_process_with_threads_packs_without_forking(folder: Path) -> None:
    before = set(children())
    prepare_with_a_thread(folder)
    assert set(children()) <= before


def test_a_killed_producer_leaves_no_process_behind(folder: Path) -> None:
    with run(LINGER, folder) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == len(os.sched_getaffinity(0))
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(alive(pid) for pid in pids), "the packing processes to go")


def prepare_with_a_thread(folder: Path) -> str:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        return prepare(folder)
    finally:
        done.set()
        thread.join()


def children() -> list[str]:
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_small_job_is_packed_in_this_process(folder: Path) -> None:
    with packers(packer(folder), small=True) as pack:
        done = list(pack(enumerate([listed(folder)[:3], listed(folder)[3:4]])))
    assert [packed.images for packed in done] == [3, 1]
