import json
import os
import shutil
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.errors import AlreadyExists, BadName, ConflictingResult, Corrupt, NotFound, UnsafePath
from storage.identity import ID_FILE
from storage.jobs.inputs import ArrayInputs, read_pack
from storage.jobs.job import Job, Status
from storage.jobs.results import BatchResult
from storage.jobs.store import JobStore
from storage.models.store import ModelPin
from tests.builders import (
    PIN,
    array_job,
    describe_job,
    encode,
    file_job,
    image_file,
    image_files,
    images_of,
    result_of,
)
from tests.odd_files import make_huge, make_socket

LEASE = 15.0


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path)


def commit(store: JobStore, job: Job) -> bool:
    with store.draft() as draft:
        return store.commit(draft, job)


def write(store: JobStore, job: Job, batch: int) -> bool:
    return store.of(job).results.write(batch, result_of([0] * len(job.span(batch))))


def age_everything(store: JobStore, job: Job, seconds: float) -> None:
    then = time.time() - seconds
    for folder, _, names in os.walk(store.path(job.id)):
        for name in names:
            os.utime(Path(folder, name), (then, then))


# Identity


def test_a_committed_job_is_read_back(store: JobStore) -> None:
    job = describe_job()
    assert commit(store, job)
    assert store.get("job") == job
    assert store.ids() == ["job"]


def test_a_job_written_before_there_was_reuse_has_none(store: JobStore) -> None:
    array_job(store, images_of([1, 2]))
    path = store.path("job") / "job.json"
    description = json.loads(path.read_text())
    del description["reuse"], description["inputs"]["ids"]
    path.write_text(json.dumps(description))
    job = store.get("job")
    assert not job.reuse
    assert isinstance(job.inputs, ArrayInputs)
    assert job.inputs.ids is None


def test_nothing_of_a_draft_is_visible_before_its_commit(store: JobStore) -> None:
    with store.draft() as draft:
        draft.add_pack(0, image_files([image_file(b"content")]))
        assert store.ids() == []
        with pytest.raises(NotFound):
            store.get("job")
    assert list(store.folder.iterdir()) == []


def test_the_same_job_again_is_no_other_one(store: JobStore) -> None:
    job = describe_job()
    commit(store, job)
    write(store, job, 0)
    again = describe_job(source="the same images elsewhere", batch_size=2)
    assert not commit(store, again)
    assert store.get("job") == job
    assert store.of(job).results.done() == {0}


def test_the_same_images_with_the_next_champion_are_still_the_same_job(store: JobStore) -> None:
    commit(store, describe_job())
    champion = ModelPin(name="digits", number=2, sha256="1" * 64, runtime="tensorflow")
    assert not commit(store, describe_job(model=champion))
    assert store.get("job").model == PIN


@pytest.mark.parametrize(
    "other",
    [{"fingerprint": "e" * 64}, {"model": PIN.model_copy(update={"name": "letters"})}],
    ids=["images", "model"],
)
def test_an_id_that_belongs_to_another_job_is_refused(
    store: JobStore, other: dict[str, object]
) -> None:
    job = describe_job()
    commit(store, job)
    with pytest.raises(AlreadyExists, match=r"images\.npy, digits@1.*choose another --job-id"):
        commit(store, describe_job(**other))
    assert store.get("job") == job
    assert store.ids() == ["job"]


def test_a_removed_job_leaves_nothing_and_its_id_is_free(store: JobStore) -> None:
    commit(store, describe_job())
    store.remove("job")
    assert list(store.folder.iterdir()) == [store.root / ID_FILE]
    assert commit(store, describe_job(fingerprint="e" * 64))


def test_an_unknown_or_damaged_job_is_named(store: JobStore) -> None:
    with pytest.raises(NotFound, match="no job 'job'"):
        store.get("job")
    commit(store, describe_job())
    (store.path("job") / "job.json").write_text('{"id": "job"')
    with pytest.raises(Corrupt, match="Job job is damaged"):
        store.get("job")
    with pytest.raises(BadName):
        store.get("../models")


def test_a_pipe_in_place_of_a_job_blocks_nobody(store: JobStore) -> None:
    commit(store, describe_job())
    replaced(os.mkfifo)(store.path("job") / "job.json")
    with pytest.raises(Corrupt, match="Job job is damaged"):
        store.get("job")


def test_a_copy_of_a_job_is_not_taken_for_it(store: JobStore) -> None:
    commit(store, describe_job())
    shutil.copytree(store.path("job"), store.path("copy"))
    with pytest.raises(Corrupt, match=r"Job copy is damaged: .*job\.json is that of job job"):
        store.get("copy")


def test_what_is_no_job_is_not_listed(store: JobStore) -> None:
    commit(store, describe_job())
    (store.folder / "loop").symlink_to("loop")
    (store.folder / "dangling").symlink_to("nowhere")
    (store.folder / "Thumbs.db").touch()
    os.mkfifo(store.folder / "pipe")
    assert store.ids() == ["job"]


def test_a_source_whose_path_is_no_text_is_spelt_out(store: JobStore) -> None:
    job = describe_job(source=os.fsdecode(b"/data/\xff\xfe/caf\xc3\xa9"))
    assert job.source == "/data/\\xff\\xfe/café"
    commit(store, job)
    assert store.get("job") == job


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "../job"},
        {"id": "job\n"},
        {"total": 0},
        {"batch_size": 0},
        {"window": 0},
        {"max_failure_rate": 1.5},
        {"unknown": 1},
    ],
    ids=str,
)
def test_a_job_out_of_bounds_cannot_be_described(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        describe_job(**fields)


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_the_batches_of_a_job_are_its_images_each_once_in_order(
    total: int, batch_size: int
) -> None:
    job = describe_job(total=total, batch_size=batch_size)
    spans = [job.span(batch) for batch in range(job.batches)]
    assert [position for span in spans for position in span] == list(range(total))
    assert all(len(span) == batch_size for span in spans[:-1])


# Results


def test_a_result_is_written_once_and_a_duplicate_is_harmless(store: JobStore) -> None:
    job = describe_job()
    commit(store, job)
    assert not store.of(job).results.has(1)
    assert write(store, job, 1)
    before = store.of(job).results.path(1).stat()
    assert not write(store, job, 1)
    assert store.of(job).results.path(1).stat().st_mtime_ns == before.st_mtime_ns
    assert store.of(job).results.done() == {1}
    assert store.of(job).results.has(1)
    np.testing.assert_array_equal(store.of(job).results.read(1).predictions, [0, 0, 0, 0])


def test_another_outcome_keeps_the_first_and_names_both(store: JobStore) -> None:
    job = describe_job()
    commit(store, job)
    first = result_of([0, 0, 0, 0])
    other = result_of([0, 0, 0, 1])
    store.of(job).results.write(1, first)
    with pytest.raises(ConflictingResult) as conflict:
        store.of(job).results.write(1, other)
    kept, second = store.of(job).results.path(1), store.path("job") / "conflicts" / "000001.npz"
    assert f"{kept} is kept" in str(conflict.value)
    assert str(second) in str(conflict.value)
    assert kept.read_bytes() == first.to_bytes()
    assert second.read_bytes() == other.to_bytes()
    assert store.of(job).results.done() == {1}


def test_a_torn_result_is_corrupt_and_can_be_discarded(store: JobStore) -> None:
    job = describe_job()
    commit(store, job)
    write(store, job, 0)
    path = store.of(job).results.path(0)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(Corrupt, match=r"000000\.npz is damaged"):
        store.of(job).results.read(0)
    store.of(job).results.discard(0)
    store.of(job).results.discard(0)
    assert store.of(job).results.done() == set()
    assert write(store, job, 0)


def test_a_result_of_another_model_or_length_is_corrupt(store: JobStore) -> None:
    job = describe_job()
    commit(store, job)
    other = PIN.model_copy(update={"number": 2})
    store.of(job).results.path(0).write_bytes(result_of([0] * 4, model=other).to_bytes())
    store.of(job).results.path(2).write_bytes(result_of([0] * 4).to_bytes())
    with pytest.raises(Corrupt, match="is of digits@2, the job is of digits@1"):
        store.of(job).results.read(0)
    with pytest.raises(Corrupt, match="has 4 predictions, its batch has 2 images"):
        store.of(job).results.read(2)


def with_scores(scores: float) -> BatchResult:
    result = result_of([0, 1, 2, 0])
    result.scores[:] = scores
    return result


def test_the_same_outcome_with_other_last_digits_keeps_the_first(store: JobStore) -> None:
    job = describe_job()
    commit(store, job)
    assert store.of(job).results.write(1, with_scores(0.75))
    assert not store.of(job).results.write(1, with_scores(0.75 + 4e-7))
    assert store.of(job).results.path(1).read_bytes() == with_scores(0.75).to_bytes()
    assert not (store.path("job") / "conflicts").exists()
    with pytest.raises(ConflictingResult, match="for 4 of its 4 images"):
        store.of(job).results.write(1, with_scores(0.76))


def test_the_same_bytes_are_a_duplicate_though_a_score_is_no_number(store: JobStore) -> None:
    job = describe_job()
    commit(store, job)
    assert store.of(job).results.write(0, with_scores(np.nan))
    assert not store.of(job).results.write(0, with_scores(np.nan))


def replaced(make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Another kind of file in the place of the one there."""

    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


NO_RESULTS: dict[str, Callable[[Path], object]] = {
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(4096)),
    "another model": lambda path: path.write_bytes(
        result_of([0] * 4, model=PIN.model_copy(update={"number": 2})).to_bytes()
    ),
    "another batch": lambda path: path.write_bytes(result_of([0] * 2).to_bytes()),
    "class beyond": lambda path: path.write_bytes(result_of([0, 1, 2, 3]).to_bytes()),
    "unexplained failure": lambda path: path.write_bytes(result_of([0, 1, 2, -1]).to_bytes()),
    "failure beyond": lambda path: path.write_bytes(result_of([0] * 4, {4: "x"}).to_bytes()),
    "pipe": replaced(os.mkfifo),
    "socket": replaced(make_socket),
    "huge": replaced(make_huge),
}


@pytest.mark.parametrize("damage", NO_RESULTS.values(), ids=NO_RESULTS)
def test_a_damaged_result_is_named_with_the_way_out_and_written_again(
    store: JobStore, damage: Callable[[Path], object]
) -> None:
    job = describe_job()
    commit(store, job)
    write(store, job, 0)
    path = store.of(job).results.path(0)
    sound = path.read_bytes()
    damage(path)
    with pytest.raises(Corrupt, match=r"000000\.npz .*`producer resume job` computes it again"):
        store.of(job).results.read(0)
    assert write(store, job, 0), "it is no duplicate and no conflict"
    assert path.read_bytes() == sound
    assert not (store.path("job") / "conflicts").exists()


def test_a_looping_link_in_place_of_a_result_is_replaced(store: JobStore) -> None:
    job = describe_job()
    commit(store, job)
    store.of(job).results.path(0).symlink_to("000000.npz")
    assert not store.of(job).results.has(0)
    assert store.of(job).results.done() == set()
    assert write(store, job, 0)
    assert store.of(job).results.done() == {0}


def test_a_folder_in_place_of_a_result_is_named(store: JobStore) -> None:
    job = describe_job()
    commit(store, job)
    store.of(job).results.path(0).mkdir()
    assert store.of(job).results.done() == set()
    with pytest.raises(Corrupt, match=r"000000\.npz is not a regular file: remove it"):
        write(store, job, 0)


@pytest.mark.parametrize(
    "litter",
    [
        *("Thumbs.db", ".DS_Store", "desktop.ini", "000000.npz~", "0.npz", "0000000.npz", "-1.npz"),
        *(
            "000003.npz",
            "999999.npz",
            "\u0660" * 6 + ".npz",
            "000000.arrow",
            b"\xff.npz",
            "x" * 200,
        ),
    ],
)
def test_litter_among_the_results_is_no_result(store: JobStore, litter: str | bytes) -> None:
    job = describe_job()
    commit(store, job)
    path = store.path("job") / "results" / os.fsdecode(litter)
    path.touch()
    assert store.of(job).results.done() == set()
    assert store.of(job).status(0) is Status.QUEUED
    for batch in range(job.batches):
        write(store, job, batch)
    assert store.of(job).results.done() == {0, 1, 2}
    before = store.of(job).results.last_written_at()
    os.utime(path, (0, 2e9))
    assert store.of(job).results.last_written_at() == before


def test_a_result_that_is_being_written_does_not_count(store: JobStore) -> None:
    job = describe_job()
    commit(store, job)
    (store.path("job") / "results" / ".new-000000.npz-1234").write_bytes(b"half")
    assert store.of(job).results.done() == set()


# Status


def test_the_status_follows_from_the_files(store: JobStore) -> None:
    job = describe_job()
    commit(store, job)
    assert store.of(job).status(0) is Status.QUEUED
    attempt = store.of(job).attempts.begin(0)
    assert store.of(job).status(0) is Status.RUNNING
    attempt.end("done")
    for batch in range(job.batches):
        write(store, job, batch)
    assert store.of(job).status(2) is Status.RUNNING
    assert store.of(job).status(3) is Status.COMPLETED
    assert store.of(job).results.last_written_at().timestamp() == pytest.approx(time.time(), abs=60)


def test_the_first_reason_to_stop_stays(store: JobStore) -> None:
    job = describe_job()
    commit(store, job)
    assert store.of(job).stopped() is None
    store.of(job).stop(Status.CANCELLED, "by hand")
    store.of(job).stop(Status.FAILED, "later")
    stop = store.of(job).stopped()
    assert stop is not None
    assert (stop.status, stop.reason) == (Status.CANCELLED, "by hand")
    assert store.of(job).status(1) is Status.CANCELLED
    assert store.of(job).status(3) is Status.COMPLETED, "nothing was left to stop"
    store.of(job).unstop()
    store.of(job).unstop()
    assert store.of(job).status(1) is Status.RUNNING


def damaged_by(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        damaged_by(b""),
        damaged_by(b"{"),
        damaged_by(b"\xff\xfe\0"),
        damaged_by(b"[]"),
        damaged_by(b"[" * 100_000),
        damaged_by(b'{"status": "running", "reason": "x", "at": "2026-01-01T00:00:00Z"}'),
        damaged_by(b'{"status": "failed", "reason": "x", "at": "2026-01-01T00:00:00"}'),
        damaged_by(b'{"status": "failed", "reason": null, "at": "2026-01-01T00:00:00Z"}'),
        Path.mkdir,
        os.mkfifo,
        make_socket,
        make_huge,
    ],
    ids=[
        "empty",
        "torn",
        "bytes",
        "list",
        "deep",
        "running",
        "no zone",
        "no reason",
        *("dir", "pipe", "socket", "huge"),
    ],
)
def test_a_job_whose_reason_to_stop_is_damaged_has_failed_and_can_be_taken_up(
    store: JobStore, damage: Callable[[Path], object]
) -> None:
    job = describe_job()
    commit(store, job)
    path = store.path("job") / "stopped.json"
    damage(path)
    stop = store.of(job).stopped()
    assert stop is not None
    assert stop.status is Status.FAILED
    assert stop.reason == f"{path} is damaged: `producer resume job` takes the job up again."
    assert store.of(job).status(0) is Status.FAILED
    store.of(job).unstop()
    assert store.of(job).status(0) is Status.QUEUED


@pytest.mark.parametrize(
    ("done", "failed", "stop", "status"),
    [
        (2, 0, None, Status.RUNNING),
        (2, 9, None, Status.RUNNING),
        (2, 0, Status.CANCELLED, Status.CANCELLED),
        (2, 9, Status.CANCELLED, Status.CANCELLED),
        (2, 9, Status.FAILED, Status.FAILED),
        (3, 2, None, Status.COMPLETED),
        (3, 3, None, Status.FAILED),
        (3, 2, Status.CANCELLED, Status.COMPLETED),
        (3, 3, Status.CANCELLED, Status.FAILED),
        (3, 0, Status.FAILED, Status.FAILED),
    ],
)
def test_one_function_knows_what_has_become_of_a_job_with_a_failure_limit(
    store: JobStore, done: int, failed: int, stop: Status | None, status: Status
) -> None:
    job = describe_job(max_failure_rate=0.2)  # of ten images
    commit(store, job)
    for batch in range(done):
        size = len(job.span(batch))
        bad = min(failed, size)
        failed -= bad
        errors = dict.fromkeys(range(bad), "bad")
        store.of(job).results.write(batch, result_of([-1] * bad + [0] * (size - bad), errors))
    if stop:
        store.of(job).stop(stop, "reason")
    assert store.of(job).status(done) is status
    end = store.of(job).end(done)
    assert (end.status if end else Status.RUNNING) is status
    assert (end is not None and end.reason is not None) == (
        status in (Status.FAILED, Status.CANCELLED)
    )


def test_a_damaged_result_counts_no_failed_images(store: JobStore) -> None:
    job = describe_job(max_failure_rate=0.2)
    commit(store, job)
    for batch in range(job.batches):
        write(store, job, batch)
    store.of(job).results.path(1).write_bytes(b"torn")
    assert store.of(job).status(3) is Status.COMPLETED


@pytest.mark.parametrize(
    ("status", "ended"),
    [("queued", False), ("running", False), ("completed", True), ("failed", True)],
)
def test_a_status_says_whether_anything_more_will_happen(status: str, ended: bool) -> None:
    assert Status(status).ended is ended


# Chains

shapes = st.tuples(st.integers(1, 40), st.integers(1, 50))


def play(store: JobStore, job: Job, sent: list[int]) -> list[int]:
    """Run what is sent and its successors, as workers do; returns the batches in order."""
    queue, ran = deque(sent), []
    while queue:
        batch = queue.popleft()
        if not store.of(job).results.has(batch):
            ran.append(batch)
            store.of(job).results.path(batch).touch()
        if (successor := store.of(job).chains.successor(batch)) is not None:
            queue.append(successor)
    return ran


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shapes, st.data())
def test_the_heads_and_their_successors_cover_every_missing_batch_once(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int], data: st.DataObject
) -> None:
    batches, window = shape
    store = JobStore(tmp_path_factory.mktemp("chains"))
    job = describe_job(total=batches, batch_size=1, window=window)
    commit(store, job)
    done = data.draw(st.sets(st.integers(0, batches - 1)))
    for batch in done:
        store.of(job).results.path(batch).touch()
    heads = store.of(job).chains.heads()
    assert len(heads) <= window, "never more in the queue than the window"
    assert not done & set(heads)
    ran = play(store, job, heads)
    assert sorted(ran) == sorted(set(range(batches)) - done)
    assert store.of(job).chains.heads() == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shapes, st.data())
def test_a_chain_that_lost_its_message_is_taken_up_where_it_stood(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int], data: st.DataObject
) -> None:
    """Messages are lost at random; all stalled heads are sent again until nothing is missing."""
    batches, window = shape
    store = JobStore(tmp_path_factory.mktemp("losses"))
    job = describe_job(total=batches, batch_size=1, window=window)
    commit(store, job)
    for _ in range(batches + 1):
        age_everything(store, job, LEASE + 5)
        stalled = store.of(job).chains.stalled(LEASE)
        if not stalled:
            break
        assert stalled == store.of(job).chains.heads()
        for batch in stalled:
            lost_after = data.draw(st.integers(1, batches))
            chain: int | None = batch
            while chain is not None and lost_after:
                store.of(job).results.path(chain).touch()
                chain, lost_after = store.of(job).chains.successor(chain), lost_after - 1
    assert store.of(job).results.done() == set(range(batches))


def test_a_successor_is_one_window_later_and_skips_what_is_done(store: JobStore) -> None:
    job = describe_job(total=9, batch_size=1, window=2)
    commit(store, job)
    assert store.of(job).chains.successor(0) == 2
    write(store, job, 2)
    write(store, job, 4)
    assert store.of(job).chains.successor(0) == 6
    assert store.of(job).chains.successor(8) is None
    assert store.of(job).chains.heads() == [0, 1]


# Standing still


def quiet_job(store: JobStore) -> Job:
    """A job of which nothing has been heard for longer than the lease."""
    job = describe_job(total=6, batch_size=1, window=2)
    commit(store, job)
    age_everything(store, job, LEASE + 5)
    return job


def test_a_new_job_is_left_in_peace_for_a_lease(store: JobStore) -> None:
    job = describe_job()
    commit(store, job)
    assert store.of(job).chains.stalled(LEASE) == []


def test_chains_where_nothing_moved_for_a_lease_are_stalled(store: JobStore) -> None:
    job = quiet_job(store)
    assert store.of(job).chains.stalled(LEASE) == [0, 1]


def test_a_running_attempt_is_a_sign_of_life_of_its_own_chain_only(store: JobStore) -> None:
    job = quiet_job(store)
    store.of(job).attempts.begin(1)
    assert store.of(job).chains.stalled(LEASE) == [0]


def test_a_result_is_a_sign_of_life_of_its_own_chain_only(store: JobStore) -> None:
    job = quiet_job(store)
    write(store, job, 0)
    assert store.of(job).chains.stalled(LEASE) == [1]
    age_everything(store, job, LEASE + 5)
    assert store.of(job).chains.stalled(LEASE) == [2, 1]


def test_sending_gives_the_whole_job_another_lease(store: JobStore) -> None:
    job = quiet_job(store)
    store.of(job).chains.note_sent()
    assert store.of(job).chains.stalled(LEASE) == []
    age_everything(store, job, LEASE + 5)
    assert store.of(job).chains.stalled(LEASE) == [0, 1]


@pytest.mark.parametrize("off", [-3600.0, 3600.0])
def test_the_clock_of_this_machine_does_not_matter(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, off: float
) -> None:
    job = quiet_job(store)
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + off)
    assert store.of(job).chains.stalled(LEASE) == [0, 1]
    store.of(job).chains.note_sent()
    assert store.of(job).chains.stalled(LEASE) == []


def test_a_discarded_result_is_found_again(store: JobStore) -> None:
    job = quiet_job(store)
    for batch in range(job.batches):
        write(store, job, batch)
    age_everything(store, job, LEASE + 5)
    assert store.of(job).chains.stalled(LEASE) == []
    store.of(job).results.discard(2)
    assert store.of(job).chains.stalled(LEASE) == [2]


# Inputs


def test_packs_lie_where_the_job_looks_for_them(store: JobStore) -> None:
    files = [image_file(encode(images_of([i])[0]), i) for i in range(6)]
    job = file_job(store, files)
    assert list(read_pack(store.of(job).inputs.pack_path(0))) == files[:4]
    assert list(read_pack(store.of(job).inputs.pack_path(1))) == files[4:]


def test_arrays_are_opened_memory_mapped(store: JobStore) -> None:
    job = array_job(store, images_of([1, 2, 3]), [0, 1, 2])
    assert isinstance(store.of(job).inputs.open_array(), np.memmap)
    np.testing.assert_array_equal(store.of(job).inputs.open_array(), images_of([1, 2, 3]))
    labels = store.of(job).inputs.open_labels()
    assert labels is not None
    assert labels.tolist() == [0, 1, 2]


def test_a_job_over_arrays_may_have_no_labels(store: JobStore) -> None:
    assert store.of(array_job(store, images_of([1, 2, 3]))).inputs.open_labels() is None


@pytest.mark.parametrize("change", ["replaced", "truncated", "removed"])
def test_an_array_that_is_not_the_one_submitted_is_corrupt(store: JobStore, change: str) -> None:
    job = array_job(store, images_of([1, 2, 3]))
    path = store.root / "images.npy"
    match change:
        case "replaced":
            np.save(path, images_of([1, 2, 4]))
            os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
        case "truncated":
            stat = path.stat()
            path.write_bytes(path.read_bytes()[:-1])
            os.utime(path, ns=(0, stat.st_mtime_ns))
        case "removed":
            path.unlink()
    with pytest.raises(Corrupt, match="The images of job job"):
        store.of(job).inputs.open_array()


def test_an_array_outside_of_storage_is_refused(store: JobStore, tmp_path: Path) -> None:
    for images in ("../images.npy", "/etc/passwd"):
        inputs = ArrayInputs(images=images, labels=images, size=0, mtime_ns=0)
        job = describe_job(inputs=inputs)
        with pytest.raises(UnsafePath):
            store.of(job).inputs.open_array()
        with pytest.raises(UnsafePath):
            store.of(job).inputs.open_labels()
