"""What has become of a job is told alike by everybody who tells it."""

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from messaging.messages import PredictBatch
from messaging.settings import BrokerSettings
from monitor.metrics import OpenJobs
from producer import cli
from producer.client import JobHandle, PredictionClient
from producer.errors import JobStopped
from producer.settings import ProducerSettings
from storage.errors import ConflictingResult
from storage.jobs.attempts import DUPLICATE
from storage.jobs.job import Job, Status
from storage.jobs.results import BatchResult
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.settings import StorageSettings
from tests.builders import encode, images_of, publish
from tests.fake_queue import FakeQueue, FakeWorker
from worker.sweep import Sweeper

REASON = "2 of 10 images failed, more than --max-failure-rate 0.1 allows."


class House:
    """A storage root with one model, and everybody who says what has become of a job."""

    def __init__(self, root: Path) -> None:
        self.jobs = JobStore(root)
        models = ModelStore(root)
        models.promote(publish(models))
        self.worker = FakeWorker(self.jobs)
        self.queue = FakeQueue(serve=self.worker)
        self.client = PredictionClient(
            storage=StorageSettings(storage=root),
            broker=BrokerSettings(),
            settings=ProducerSettings(),
            queue=self.queue,
        )

    def submit(self, **options: Any) -> JobHandle:
        return self.client.submit(images_of(range(10)), batch_size=4, job_id="job", **options)

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli.cli, arguments, obj=self.client)

    def told(self) -> Mapping[str, str]:
        """The status by everybody who tells it."""
        job = self.jobs.get("job")
        metrics = OpenJobs(self.jobs).metrics().samples
        report = self.run("report", "job", "--json")
        return {
            "store": self.jobs.of(job).status(len(self.jobs.of(job).results.done())),
            "status": json.loads(self.run("status", "job", "--json").stdout)["status"],
            "follow": json.loads(self.run("status", "job", "--follow", "--json").stdout)["status"],
            "jobs": json.loads(self.run("jobs", "--json").stdout)[0]["status"],
            "report": json.loads(report.stdout)["status"],
            "page": "failed" if "The job has failed." in self.page() else "completed",
            "wait": self.client.job("job").wait().status,
            "summary": self.client.job("job").summary().status,
            "metrics": next(s.labels["status"] for s in metrics if s.value),
        }

    def page(self) -> str:
        return (self.jobs.path("job") / "report.html").read_text("utf-8")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "storage")


def all_say(house: House, status: Status) -> bool:
    told = house.told()
    assert told == dict.fromkeys(told, status)
    return True


# A limit that the last batch exceeds


@pytest.mark.parametrize("noted", [False, True], ids=["its worker died", "its worker noted it"])
def test_a_job_over_its_failure_limit_has_failed_whoever_is_asked(
    house: House, noted: bool
) -> None:
    house.worker.errors = {8: "damaged image", 9: "damaged image"}
    handle = house.submit(max_failure_rate=0.1)
    if noted:
        house.jobs.of(handle.job).stop(Status.FAILED, REASON)
    assert all_say(house, Status.FAILED)
    for command in (["status", "job"], ["report", "job"], ["resume", "job"]):
        said = house.run(*command)
        assert said.exit_code == 4
        assert "failed" in said.output
        assert "--max-failure-rate 0.1 allows" in " ".join(said.output.split())
    said = house.run("cancel", "job")
    assert said.output == "Job job has ended already: it is failed.\n"
    with pytest.raises(JobStopped, match=REASON):
        list(handle)
    with pytest.raises(JobStopped, match=r"`producer results job` writes the records"):
        handle.to_arrow()
    assert handle.end() == house.jobs.of(handle.job).end(3)
    assert Sweeper(house.jobs, 0).sweep(lambda message: None, set) == {}
    assert house.run("verify", "job").exit_code == 0
    assert len(house.run("results", "job").stdout.splitlines()) == 11
    pruned = house.client.prune(timedelta(0), dry_run=True, on_fault=print)
    assert [entry.name for entry in pruned] == ["job"]
    house.worker.errors = {}
    assert house.run("resume", "job", "--failed-only").exit_code == 0
    assert all_say(house, Status.COMPLETED)


def test_a_job_at_its_failure_limit_is_completed_whoever_is_asked(house: House) -> None:
    house.worker.errors = {9: "damaged image"}
    handle = house.submit(max_failure_rate=0.1)
    assert all_say(house, Status.COMPLETED)
    assert house.run("cancel", "job").output == "Job job has ended already: it is completed.\n"
    assert len(list(handle)) == handle.to_arrow().num_rows == 10


def test_a_job_that_was_cancelled_too_late_is_completed_whoever_is_asked(house: House) -> None:
    handle = house.submit()
    house.jobs.of(handle.job).stop(Status.CANCELLED, "It was cancelled by hand.")
    assert all_say(house, Status.COMPLETED)
    assert len(list(handle)) == 10
    assert handle.wait().reason is None


def test_a_damaged_reason_to_stop_is_told_and_resume_takes_the_job_up(house: House) -> None:
    handle = house.submit()
    path = house.jobs.path("job") / "stopped.json"
    path.write_bytes(b"{")
    assert all_say(house, Status.FAILED)
    said = house.run("status", "job")
    assert said.exit_code == 1
    assert "stopped.json is damaged" in said.output.replace("\n", "")
    assert house.run("resume", "job").exit_code == 0
    assert all_say(house, Status.COMPLETED)
    assert len(list(handle)) == 10


# Two outcomes of one batch


def other_class(house: House, job: Job, batch: int) -> BatchResult:
    result = house.worker.result(job, batch)
    result.predictions[0] = (result.predictions[0] + 1) % 3
    result.scores[:] = 0.9
    return result


def write_twice(house: House, job: Job, batch: int) -> None:
    """As two workers do that compute a batch at the same time and differ."""
    house.jobs.of(job).results.discard(batch)
    first = house.worker.result(job, batch)
    first.scores[:] = 0.9
    house.jobs.of(job).results.write(batch, first)
    with pytest.raises(ConflictingResult) as conflict:
        house.jobs.of(job).results.write(batch, other_class(house, job, batch))
    house.jobs.of(job).stop(Status.FAILED, str(conflict.value))


@pytest.mark.parametrize("batch", [0, 2], ids=["first", "last"])
def test_two_classes_for_one_image_fail_the_job_whoever_is_asked_until_it_is_resumed(
    house: House, batch: int
) -> None:
    job = house.submit().job
    write_twice(house, job, batch)
    assert all_say(house, Status.FAILED)
    said = house.run("status", "job")
    assert said.exit_code == 1
    verified = house.run("verify", "job")
    assert verified.exit_code == 5
    for text in (said.output.replace("\n", " "), verified.stdout):
        assert f"Batch {batch} of job job was computed twice" in " ".join(text.split())
    assert f"results/{batch:06d}.npz is kept" in verified.stdout
    assert f"conflicts/{batch:06d}.npz" in verified.stdout
    with pytest.raises(JobStopped, match="computed twice with different outcomes, for 1 of its"):
        list(house.client.job("job"))
    resumed = house.run("resume", "job")
    assert resumed.exit_code == 0
    assert "1 batch is computed again: there were two different outcomes." in resumed.stderr
    assert all_say(house, Status.COMPLETED)
    assert house.run("verify", "job").exit_code == 0


def test_two_outcomes_that_agree_are_one_and_verify_says_how_many(house: House) -> None:
    job = house.submit().job
    for batch in (0, 2):
        again = house.worker.result(job, batch)
        again.scores[:] += np.float32(4e-7)
        attempt = house.jobs.of(job).attempts.begin(batch)
        assert not house.jobs.of(job).results.write(batch, again)
        attempt.end(DUPLICATE)
    verified = house.run("verify", "job")
    assert verified.exit_code == 0
    assert verified.stdout == ""
    assert verified.stderr.splitlines() == [
        "3 of 3 batches read, no faults found.",
        "2 batches were computed more than once, with the same outcome.",
    ]
    assert all_say(house, Status.COMPLETED)


def test_a_second_outcome_kept_by_an_older_program_is_no_fault_where_it_agrees(
    house: House,
) -> None:
    job = house.submit().job
    again = house.worker.result(job, 1)
    again.scores[:] += np.float32(4e-7)
    folder = house.jobs.path("job") / "conflicts"
    folder.mkdir()
    (folder / "000001.npz").write_bytes(again.to_bytes())
    verified = house.run("verify", "job")
    assert verified.exit_code == 0
    assert "1 batch was computed more than once" in verified.stderr
    assert house.run("resume", "job").stderr == "Job job: 0 of 3 batches to do.\n"


# Damaged results


def test_a_class_beyond_those_of_the_model_is_a_damaged_result_for_everybody(house: House) -> None:
    job = house.submit().job
    result = house.worker.result(job, 1)
    result.predictions[0] = 3
    house.jobs.of(job).results.path(1).write_bytes(result.to_bytes())
    for command in ("status", "report", "results"):
        said = house.run(command, "job")
        assert said.exit_code == 1
        assert said.stderr.count("\n") == 1
        assert "000001.npz predicts a class beyond the 3 of the model" in said.stderr
        assert said.stderr.endswith("`producer resume job` computes it again.\n")
    assert house.run("verify", "job").exit_code == 5
    assert house.run("resume", "job").exit_code == 0
    assert house.run("verify", "job").exit_code == 0


def test_what_a_follower_says_of_a_damaged_result_comes_true(house: House) -> None:
    house.queue.serve = lambda message: None
    job = house.submit().job
    for batch in (0, 1, 2):
        house.jobs.of(job).results.write(batch, house.worker.result(job, batch))
    house.jobs.of(job).results.path(1).write_bytes(b"torn")
    house.queue.serve = house.worker
    said = house.run("status", "job", "--follow")
    assert said.exit_code == 0
    assert "The result of batch 1 is damaged: it was removed, to be computed again." in said.stderr
    assert "computes it again" not in said.stderr
    assert house.run("verify", "job").exit_code == 0


def test_a_follower_of_a_stopped_job_promises_nothing(house: House) -> None:
    house.queue.serve = lambda message: None
    job = house.submit().job
    house.jobs.of(job).results.path(0).write_bytes(b"torn")
    house.jobs.of(job).stop(Status.FAILED, "reason")
    said = house.run("status", "job", "--follow")
    assert said.exit_code == 1
    assert said.stderr.endswith("`producer resume job` computes it again.\n")
    assert "removed" not in said.stderr
    assert house.jobs.of(job).results.has(0), "nobody would compute it again"


def test_a_damaged_job_alone_does_not_make_it_look_as_if_there_were_none(house: House) -> None:
    house.submit()
    (house.jobs.path("job") / "job.json").write_bytes(b"")
    said = house.run("jobs")
    assert said.output.count("\n") == 1
    assert said.stderr.startswith("Job job is damaged")
    assert "Restore it, or remove its folder" in said.stderr
    assert house.run("jobs", "--json").stdout == "[]\n"


# Names that are no text


def test_a_source_in_a_folder_whose_name_is_no_text(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "caf\udcff"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.png").write_bytes(encode(images_of([i])[0]))
    said = house.run("submit", str(folder), "--job-id", "job")
    assert said.exit_code == 0, said.output
    assert house.jobs.get("job").source.endswith("caf\\xff")
    assert "caf\\xff" in house.run("jobs").output


def test_storage_in_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    house = House(tmp_path / "caf\udcff" / "storage")
    (tmp_path / "0.png").write_bytes(encode(images_of([1])[0]))
    files = house.client.submit(tmp_path, job_id="files")
    assert [record.prediction for record in files] == ["zero"]
    house.submit(ids=[f"image {i}" for i in range(10)])
    summary = json.loads(house.run("status", "job", "--json").stdout)
    assert summary["storage"] == f"{tmp_path}/caf\\xff/storage"
    for command in ("status", "report", "verify", "results", "jobs"):
        said = house.run(*((command, "job") if command != "jobs" else (command,)))
        assert said.exit_code == 0, (command, said.output, said.exception)


def test_messages_are_sent_for_what_nobody_does(house: House) -> None:
    """The job of a producer that was killed before it sent anything."""
    house.queue.serve = lambda message: None
    job = house.submit().job
    sent: list[PredictBatch] = []
    Sweeper(house.jobs, -1).sweep(sent.extend, set)
    assert [message.batch for message in sent] == house.jobs.of(job).chains.heads()
