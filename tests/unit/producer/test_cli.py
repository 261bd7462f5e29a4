import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from messaging.messages import PredictBatch
from messaging.settings import BrokerSettings
from producer import cli
from producer.client import PredictionClient
from producer.settings import ProducerSettings
from producer.terminal import show_counts
from storage.datasets.store import DatasetStore
from storage.jobs.job import Status
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.settings import StorageSettings
from tests.builders import LABELS, SHAPE, encode, images_of, publish
from tests.fake_queue import AWAY, FakeQueue, FakeWorker
from tests.processes import REPOSITORY, modules_after

SUMMARY_FIELDS = {
    "id",
    "status",
    "model",
    "images",
    "labelled",
    "accuracy",
    "images_per_second",
    "created_at",
    "completed_at",
    "storage",
}


class House:
    """A storage root with the data set `digits` and its model, a fake queue and a fake worker."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.jobs = JobStore(root)
        self.models = ModelStore(root)
        self.worker = FakeWorker(self.jobs)
        self.queue = FakeQueue(serve=self.worker)
        datasets = DatasetStore(root)
        with datasets.draft(SHAPE) as draft:
            images, labels = draft.add_split("test", 60)
            images[:], labels[:] = images_of(range(60)), np.arange(60) % 3
            labels[:6] = 0  # of six images two are classified right, four wrong
            datasets.commit(draft, "digits", LABELS, "here")
        self.models.promote(publish(self.models))

    def run(self, *arguments: str | Path, **settings: Any) -> Result:
        client = PredictionClient(
            storage=StorageSettings(storage=self.root, **settings),
            broker=BrokerSettings(),
            settings=ProducerSettings(),
            queue=self.queue,
        )
        return CliRunner().invoke(cli.cli, [str(a) for a in arguments], obj=client)

    def submit(self, *arguments: str | Path) -> Result:
        return self.run("submit", "digits:test", "--job-id", "job", *arguments)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "storage")


def lines_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def summary_of(result: Result) -> Mapping[str, Any]:
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


def assert_sentence(result: Result, sentence: str, code: int = 1) -> None:
    """The command failed with one sentence on stderr, and nothing else."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert sentence in lines[0]


# Submitting


def test_submit_waits_and_prints_what_the_job_came_to(house: House) -> None:
    done = house.submit()
    assert done.exit_code == 0
    assert "Job job completed, model digits@1" in done.stdout
    assert "60 of 60 predicted" in done.stdout
    assert "0.9333 over all images" in done.stdout
    assert str(house.root / "jobs" / "job") in done.stdout
    assert done.stderr == "Job job: 60 images in 4 batches for digits@1.\n"


def test_submit_prints_precision_recall_and_f1_of_every_class(house: House) -> None:
    rows = {line.split()[0]: line.split()[1:] for line in lines_of(house.submit().stdout)}
    assert rows["zero"] == ["1.0000", "0.8333", "0.9091", "24"]
    assert rows["one"] == ["0.9000", "1.0000", "0.9474", "18"]


def rows_under(title: str, printed: str) -> list[list[str]]:
    """The rows of a table that begins with this title, up to the next empty line."""
    lines = iter(printed.splitlines())
    for line in lines:
        if line.split()[:1] == [title]:
            return [row.split() for row in takewhile(str.strip, list(lines)[1:])]
    return []


def test_a_small_job_prints_its_answers(house: House) -> None:
    house.worker.errors = {2: "damaged image"}
    printed = house.submit("--limit", "20").stdout
    rows = rows_under("image", printed)
    assert len(rows) == 20
    assert rows[:3] == [
        ["0", "zero", "0.5000", "zero"],
        ["1", "one", "0.5100", "zero"],
        ["2", "zero", "damaged", "image"],
    ]
    assert rows_under("predicted", printed) == []


def test_what_there_is_one_of_is_told_in_the_singular(house: House, tmp_path: Path) -> None:
    done = house.submit("--limit", "1", "--reuse")
    assert done.stderr == "Job job: 1 image in 1 batch for digits@1.\n"
    assert "over 1 labelled image\n" in done.stdout
    written = house.run("results", "job", "-o", tmp_path / "one.csv")
    assert written.stderr == f"1 record in {tmp_path / 'one.csv'}.\n"


def test_a_large_job_prints_how_often_each_class_was_predicted(house: House) -> None:
    printed = house.submit().stdout
    assert rows_under("image", printed) == []
    assert rows_under("predicted", printed) == [["zero", "20"], ["one", "20"], ["two", "20"]]


def test_of_many_classes_the_most_frequent_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_counts([f"c{i}" for i in range(12)], [0, *range(1, 12)])
    rows = rows_under("predicted", capsys.readouterr().out)
    assert len(rows) == 10
    assert rows[0] == ["c11", "11"]
    assert rows[8:] == [["c3", "3"], ["2", "others", "3"]]


def test_submit_with_json_prints_one_object_and_nothing_else_on_stdout(house: House) -> None:
    summary = summary_of(house.submit("--json"))
    assert set(summary) == SUMMARY_FIELDS
    assert summary["id"] == "job"
    assert summary["status"] == "completed"
    assert summary["model"] == "digits@1"
    assert summary["images"] == {"total": 60, "predicted": 60, "failed": 0}
    assert summary["labelled"] == 60
    assert summary["accuracy"] == pytest.approx(56 / 60)
    assert summary["images_per_second"] > 0
    assert summary["created_at"] <= summary["completed_at"]
    assert summary["storage"] == str(house.root)


def test_submit_tells_and_counts_what_of_a_folder_it_passes_over(
    house: House, tmp_path: Path
) -> None:
    image = encode(images_of([1])[0])
    names = ("a.png", "b.jfif", "c.jxl", ".d.png", "notes.txt")
    folder = folder_of(dict.fromkeys(names, image), tmp_path / "files")
    (folder / "more").symlink_to(tmp_path)
    done = house.run("submit", folder, "--job-id", "job", "--json")
    assert done.stderr.splitlines() == [
        "Passed over: 1 .jxl (no supported format), 1 hidden file, 1 link to a folder, 1 other "
        "file (notes.txt); --follow-links takes linked folders too; --strict has each image of "
        "such a format be an error.",
        "Job job: 2 images in 1 batch for digits@1.",
    ]
    counts = {".jxl": 1, "hidden_files": 1, "linked_folders": 1, "other_files": 1}
    assert summary_of(done)["passed_over"] == counts
    assert summary_of(house.run("status", "job", "--json"))["passed_over"] == counts


def test_submit_follows_links_when_asked(house: House, tmp_path: Path) -> None:
    pool = folder_of({"a.png": encode(images_of([1])[0])}, tmp_path / "pool")
    folder = folder_of({}, tmp_path / "files")
    (folder / "one").symlink_to(pool)
    assert_sentence(house.run("submit", folder), "1 link to a folder; --follow-links takes")
    done = house.run("submit", folder, "--follow-links", "--json")
    assert (done.exit_code, summary_of(done)["labelled"]) == (0, 1)


def test_submit_without_waiting_prints_the_id_alone(house: House) -> None:
    done = house.submit("--no-wait")
    assert (done.exit_code, done.stdout) == (0, "job\n")
    house.queue.serve = lambda message: None
    queued = house.run("submit", "digits:test", "--no-wait", "--json")
    assert summary_of(queued)["status"] == "queued"
    assert summary_of(queued)["accuracy"] is None
    assert summary_of(queued)["completed_at"] is None


def test_submit_sends_no_more_batches_at_once_than_may_be_in_flight(house: House) -> None:
    house.queue.serve = lambda message: None
    house.submit("--no-wait", "--batch-size", "4", "--max-in-flight", "3")
    assert house.queue.batches == [0, 1, 2]
    house.run("submit", "digits:test", "--no-wait", "--batch-size", "30")
    assert house.queue.batches[3:] == [0, 1]


def test_the_whole_job_lies_on_storage_before_its_first_message_is_sent(house: House) -> None:
    seen: list[int] = []

    def look(message: PredictBatch) -> None:
        job = house.jobs.get(message.job)
        seen.append(len(house.jobs.of(job).inputs.open_array()))

    house.queue.serve = look
    np.save(house.root.parent / "a.npy", images_of(range(9)))
    house.run("submit", house.root.parent / "a.npy", "--no-wait")
    assert seen == [9]


def test_images_without_labels_have_no_accuracy_and_it_is_not_mentioned(house: House) -> None:
    np.save(house.root / "a.npy", images_of(range(9)))
    done = house.run("submit", house.root / "a.npy", "--json")
    assert (summary_of(done)["labelled"], summary_of(done)["accuracy"]) == (0, None)
    plain = house.run("status", summary_of(done)["id"])
    assert "accuracy" not in plain.stdout
    assert "precision" not in plain.stdout


def test_failed_images_give_exit_code_3_and_do_not_count_for_the_accuracy(house: House) -> None:
    house.worker.errors = {0: "damaged image", 59: "damaged image"}
    done = house.submit("--json")
    assert done.exit_code == 3
    summary = summary_of(done)
    assert summary["status"] == "completed"
    assert summary["images"] == {"total": 60, "predicted": 58, "failed": 2}
    assert (summary["labelled"], summary["accuracy"]) == (58, pytest.approx(54 / 58))
    told = house.run("status", "job").stdout
    assert "over 58 labelled images" in told
    assert "errors      errors.jsonl tells why" in told
    assert (house.jobs.path("job") / "errors.jsonl").exists()


def test_a_job_stopped_for_its_failure_rate_gives_exit_code_4(house: House) -> None:
    house.worker.errors = dict.fromkeys(range(10), "damaged image")

    def serve(message: PredictBatch) -> None:
        job = house.jobs.get(message.job)
        house.jobs.of(job).results.write(0, house.worker.result(job, 0))
        house.jobs.of(job).stop(Status.FAILED, "10 of 60 images failed.")

    house.queue.serve = serve
    done = house.submit("--max-failure-rate", "0.1", "--json")
    assert done.exit_code == 4
    assert summary_of(done)["status"] == "failed"
    assert "10 of 60 images failed." in done.stderr


def test_a_job_whose_last_batch_passes_the_failure_rate_has_failed_as_well(house: House) -> None:
    house.worker.errors = dict.fromkeys(range(50, 60), "damaged image")
    done = house.submit("--max-failure-rate", "0.1", "--json")
    assert (done.exit_code, summary_of(done)["status"]) == (4, "failed")
    exactly = house.run("submit", "digits:test", "--max-failure-rate", str(10 / 60), "--json")
    assert (exactly.exit_code, summary_of(exactly)["status"]) == (3, "completed")


def test_a_failed_job_gives_exit_code_1_and_its_reason(house: House) -> None:
    house.queue.serve = lambda message: house.jobs.open(message.job).stop(
        Status.FAILED, "Model digits@1 is damaged."
    )
    done = house.submit()
    assert done.exit_code == 1
    assert "Job job failed" in done.stdout
    assert "Model digits@1 is damaged." in done.stdout


def test_ctrl_c_while_waiting_leaves_the_job_and_says_how_to_return(house: House) -> None:
    class Interrupted(FakeQueue):
        def listen(self, job_id: str, wait_seconds: float) -> Any:
            raise KeyboardInterrupt

    house.queue = Interrupted()
    done = house.submit()
    assert done.exit_code == 130
    assert done.stderr.splitlines()[1:] == [
        "Job job goes on: `producer status job --follow` returns to it."
    ]
    assert house.jobs.open("job").stopped() is None


def test_ctrl_c_right_after_the_commit_says_how_to_return_as_well(house: House) -> None:
    class Interrupted(FakeQueue):
        def send(self, messages: Sequence[PredictBatch]) -> None:
            raise KeyboardInterrupt

    house.queue = Interrupted()
    done = house.submit()
    assert (done.exit_code, house.jobs.ids()) == (130, ["job"])
    assert done.stderr == "Job job goes on: `producer status job --follow` returns to it.\n"


def test_ctrl_c_before_there_is_a_job_names_none(house: House) -> None:
    class Interrupted(FakeQueue):
        def check(self) -> None:
            raise KeyboardInterrupt

    house.queue = Interrupted()
    done = house.submit()
    assert (done.exit_code, house.jobs.ids()) == (130, [])
    assert done.stderr == "Interrupted.\n"


def test_submitting_the_same_again_under_the_same_id_changes_nothing(house: House) -> None:
    house.submit()
    sent = len(house.queue.sent)
    again = house.submit("--json")
    assert again.exit_code == 0
    assert summary_of(again)["status"] == "completed"
    assert "exists already with the same images" in again.stderr
    assert len(house.queue.sent) == sent
    assert house.jobs.ids() == ["job"]


def test_other_images_under_the_same_id_are_refused(house: House) -> None:
    house.submit()
    other = house.submit("--limit", "30")
    assert_sentence(other, "Job job exists already with other images")
    assert house.jobs.get("job").total == 60


def test_a_full_redis_is_waited_for_and_that_is_said(house: House) -> None:
    house.queue.refusals = 1
    done = house.submit("--json")
    assert summary_of(done)["status"] == "completed"
    assert "lies on storage but is not queued: Redis at redis://full" in done.stderr


def test_without_waiting_a_full_redis_is_a_sentence_that_says_how_to_go_on(house: House) -> None:
    house.queue.refusals = 1
    done = house.submit("--no-wait")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.endswith("Then `producer resume job` sends it.\n")
    assert house.run("resume", "job", "--json").exit_code == 0
    assert summary_of(house.run("status", "job", "--json"))["status"] == "completed"


# Which model


def test_the_model_is_the_one_named_like_the_data_set(house: House) -> None:
    house.models.promote(publish(house.models, "another"))
    assert house.submit("--json").exit_code == 0
    np.save(house.root / "a.npy", images_of([1]))
    unclear = house.run("submit", house.root / "a.npy")
    assert_sentence(unclear, "Say which model is to classify these images: --model another|digits.")


def test_a_model_can_be_named_with_its_version(house: House) -> None:
    publish(house.models, content=b"a second one")
    assert summary_of(house.submit("--json"))["model"] == "digits@1"
    second = house.run("submit", "digits:test", "--model", "digits@2", "--json")
    assert summary_of(second)["model"] == "digits@2"


# Bad input: one sentence


def test_no_redis_is_a_sentence_and_leaves_nothing_behind(house: House) -> None:
    house.queue.available = False
    assert_sentence(house.submit(), AWAY)
    assert not list(house.jobs.folder.glob("*"))


def test_a_port_where_nobody_listens_is_a_sentence(house: House) -> None:
    client = PredictionClient(
        storage=StorageSettings(storage=house.root),
        broker=BrokerSettings(redis_url="redis://127.0.0.1:1/0"),
        settings=ProducerSettings(),
    )
    done = CliRunner().invoke(cli.cli, ["submit", "digits:test"], obj=client)
    assert_sentence(done, "No Redis answers at redis://127.0.0.1:1/0")


def test_no_model_at_all_is_a_sentence(tmp_path: Path) -> None:
    house = House(tmp_path)
    (tmp_path / "models").rename(tmp_path / "gone")
    assert_sentence(house.submit(), "No model is published yet: train one with `trainer train")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["submit", "letters:test"], "There is no data set 'letters' (digits)"),
        (["submit", "digits:training"], "Data set digits@1 has no split 'training', only test."),
        (["submit", "digits"], "There is no file or folder digits; for a data set name its split"),
        (["submit", "digits:test", "--model", "letters"], "There is no model 'letters' (digits)"),
        (["submit", "digits:test", "--model", "digits@7"], "has no version 7, only 1."),
        (["submit", "digits:test", "--model", "../x"], "'../x' is no valid model name"),
        (["submit", "digits:test", "--job-id", "a/b"], "'a/b' is no valid job id"),
        (["status", "nothing"], "There is no job 'nothing'"),
        (["results", "nothing"], "There is no job 'nothing'"),
        (["report", "nothing"], "There is no job 'nothing'"),
        (["cancel", "nothing"], "There is no job 'nothing'"),
        (["resume", "nothing"], "There is no job 'nothing'"),
        (["verify", "nothing"], "There is no job 'nothing'"),
        (["status", "../models"], "'../models' is no valid job id"),
    ],
)
def test_what_is_unknown_is_a_sentence(house: House, arguments: list[str], sentence: str) -> None:
    assert_sentence(house.run(*arguments), sentence)


def folder_of(files: Mapping[str, bytes | str], folder: Path) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("", "", "holds no images: there is nothing to classify."),
        ("m.csv", "path,label\na.png,one\n,two\n", "m.csv has no path: every line must name"),
        ("m.csv", "path\na.png\nb.png\n", "names 'b.png', but there is no such file."),
        ("m.csv", "path,label\na.png,nine\n", "has the label 'nine', which digits@1 does not know"),
        ("m.jsonl", "{}\n", "Line 1 of"),
        ("a.npy", "text", "is not a readable .npy array"),
        ("a.npz", "text", "is not a readable .npz archive"),
        ("a.txt", "text", "is no source: give a data set and split"),
    ],
)
def test_a_source_that_cannot_be_used_is_a_sentence_and_leaves_nothing_behind(
    house: House, tmp_path: Path, name: str, content: str, sentence: str
) -> None:
    files: dict[str, bytes | str] = {name: content, "a.png": encode(images_of([1])[0])}
    folder = folder_of(files if name else {}, tmp_path / "files")
    assert_sentence(house.run("submit", folder / name), sentence)
    assert not list(house.jobs.folder.glob("*"))
    assert house.queue.sent == []


def test_storage_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    house = House(tmp_path / "storage")
    (house.root / "jobs").write_text("a file where a folder should be")
    assert_sentence(house.submit(), "Cannot write to shared storage at")


def test_a_damaged_job_is_a_sentence(house: House) -> None:
    house.submit()
    (house.jobs.path("job") / "job.json").write_text("{")
    assert_sentence(house.run("status", "job"), "Job job is damaged")


def test_a_damaged_model_manifest_is_a_sentence(house: House) -> None:
    path = house.root / "models/digits/1/manifest.json"
    path.write_text("{")
    assert_sentence(house.submit(), f"Model digits@1 is damaged: {path} cannot be used (Invalid")


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        (
            "BATCHSIGHT_REDIS_URL",
            "http://x",
            "BATCHSIGHT_REDIS_URL cannot be used: write it as redis://",
        ),
        (
            "BATCHSIGHT_MAX_IN_FLIGHT",
            "none",
            "BATCHSIGHT_MAX_IN_FLIGHT=none cannot be used: it must be a whole number from 1 to ",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_a_sentence_that_names_it(
    tmp_path: Path, variable: str, value: str, sentence: str
) -> None:
    done = fresh("-m", "producer.cli", "jobs", **{variable: value})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {sentence}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit"],
        ["submit", "digits:test", "--batch-size", "0"],
        ["submit", "digits:test", "--limit", "0"],
        ["submit", "digits:test", "--max-failure-rate", "2"],
        ["submit", "digits:test", "--max-failure-rate", "nan"],
        ["results", "job", "-o", "out.xlsx"],
        ["prune"],
        ["prune", "--older-than", "30 days"],
        ["prune", "--older-than", "999999d"],
        ["nonsense"],
    ],
)
def test_wrong_usage_gives_exit_code_2(house: House, arguments: list[str]) -> None:
    assert house.run(*arguments).exit_code == 2


# Status, results, jobs


def test_status_follows_a_job_that_another_producer_submitted(house: House) -> None:
    house.queue.serve = lambda message: None
    house.submit("--no-wait")
    assert summary_of(house.run("status", "job", "--json"))["status"] == "queued"
    house.worker(PredictBatch(job="job", batch=0))
    assert summary_of(house.run("status", "job", "--json"))["status"] == "running"
    for batch in range(1, 4):
        house.worker(PredictBatch(job="job", batch=batch))
    followed = house.run("status", "job", "--follow", "--json")
    assert summary_of(followed)["status"] == "completed"
    assert (house.jobs.path("job") / "predictions.parquet").exists()


def test_results_go_to_stdout_as_csv_or_to_a_file(house: House, tmp_path: Path) -> None:
    house.submit()
    printed = house.run("results", "job")
    assert printed.stdout.splitlines()[1] == '"0",,"zero","zero",0.5,"digits@1",0,'
    assert len(printed.stdout.splitlines()) == 61
    written = house.run("results", "job", "-o", tmp_path / "out.csv")
    assert (written.exit_code, written.stdout) == (0, "")
    assert written.stderr == f"60 records in {tmp_path / 'out.csv'}.\n"
    assert (tmp_path / "out.csv").read_text() == printed.stdout


def test_the_least_sure_records_are_filled_in_and_taken_back(house: House, tmp_path: Path) -> None:
    house.worker.errors = {2: "damaged image"}
    house.submit()
    file = tmp_path / "check.csv"
    done = house.run("results", "job", "--below", "0.53", "-o", file)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        f"5 of 60 records in {file}: those with a score below 0.53.",
        "1 failed image has no score, and no record here.",
        f"Fill in `label`, and `producer label job {file}` takes it back.",
    ]
    head, *rows = file.read_text().splitlines()
    assert head.startswith('"id","path","label",')
    assert [row.split(",")[:5] for row in rows] == [
        [f'"{i}"', "", "", f'"{LABELS[i % 3]}"', score]
        for i, score in ((0, "0.5"), (1, "0.51"), (50, "0.5"), (51, "0.51"), (52, "0.52"))
    ], "none has its submitted label, and 0.53 is not below 0.53"
    rows[3] = rows[3].replace(",,", ",,two", 1)
    file.write_text("\n".join([head, *rows]))
    labelled = house.run("label", "job", file)
    assert labelled.stderr.splitlines()[:2] == [
        "Job job: 1 label, 1 new, 0 changed.",
        "4 lines have no label, and nothing came of them.",
    ]
    assert summary_of(house.run("status", "job", "--json"))["labelled_later"] == 1


def test_the_least_sure_records_go_to_stdout_or_into_other_formats_too(
    house: House, tmp_path: Path
) -> None:
    house.submit()
    printed = house.run("results", "job", "--below", "0.51")
    assert [line.split(",")[0] for line in printed.stdout.splitlines()] == ['"id"', '"0"', '"50"']
    assert printed.stderr == "2 of 60 records: those with a score below 0.51.\n"
    house.run("results", "job", "--below", "0.51", "-o", tmp_path / "check.jsonl")
    lines = map(json.loads, (tmp_path / "check.jsonl").read_text().splitlines())
    assert [(line["id"], line["label"]) for line in lines] == [("0", None), ("50", None)]
    done = house.run("results", "job", "--below", "0.51", "-o", tmp_path / "check.parquet")
    assert "Fill in" not in done.stderr
    table = pq.read_table(tmp_path / "check.parquet")
    assert table["label"].to_pylist() == ["zero", "two"], "a program may want it"
    none = house.run("results", "job", "--below", "0.5", "-o", tmp_path / "none.csv")
    assert none.stderr == (
        f"0 of 60 records in {tmp_path / 'none.csv'}: those with a score below 0.5.\n"
    )
    assert (tmp_path / "none.csv").read_text().startswith('"id",')
    assert house.run("results", "job", "--below", "90").exit_code == 2


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_least_sure_records_keep_their_probabilities(
    house: House, tmp_path: Path, suffix: str
) -> None:
    house.worker.errors = {0: "damaged image"}
    house.submit("--probabilities")
    file = tmp_path / f"check{suffix}"
    assert house.run("results", "job", "--below", "0.51", "-o", file).exit_code == 0
    match suffix:
        case ".csv":
            head, row = (line.split(",") for line in file.read_text().splitlines())
            found = dict(zip(head, row, strict=True))
            assert (found['"id"'], found['"p_two"']) == ('"50"', found['"score"'])
        case ".jsonl":
            (record,) = map(json.loads, file.read_text().splitlines())
            assert (record["id"], record["probabilities"]["two"]) == ("50", record["score"])
        case _:
            table = pq.read_table(file)
            assert table["id"].to_pylist() == ["50"]
            assert table["probabilities"].to_pylist()[0][2] == table["score"].to_pylist()[0]


def test_results_of_a_job_that_has_not_finished_are_those_so_far(house: House) -> None:
    house.queue.serve = lambda message: None
    house.submit("--no-wait")
    job = house.jobs.get("job")
    house.jobs.of(job).results.write(2, house.worker.result(job, 2))
    done = house.run("results", "job")
    assert done.stdout.splitlines()[1].startswith('"32",')
    assert done.stderr == "Job job has not finished: 16 of 60 records so far.\n"


def test_results_that_cannot_be_written_are_a_sentence(house: House, tmp_path: Path) -> None:
    house.submit()
    done = house.run("results", "job", "-o", tmp_path / "nowhere" / "out.csv")
    assert_sentence(done, "There is no folder")


def test_jobs_are_listed_with_what_they_came_to_the_newest_first(house: House) -> None:
    assert "There are no jobs yet" in house.run("jobs").stderr
    house.submit()
    house.queue.serve = lambda message: None
    house.run("submit", "digits:test", "--job-id", "a-later-one", "--no-wait")
    house.worker(PredictBatch(job="a-later-one", batch=0))
    listed = json.loads(house.run("jobs", "--json").stdout)
    facts = ("id", "status", "done", "accuracy", "failed")
    assert [tuple(line[fact] for fact in facts) for line in listed] == [
        ("a-later-one", "running", 16, None, None),
        ("job", "completed", 60, pytest.approx(56 / 60), 0),
    ]
    day = listed[1]["created_at"][:10]
    rows = [line.split() for line in house.run("jobs").stdout.splitlines()[2:]]
    assert rows[0][:6] == ["a-later-one", day, "running", "27%", "digits@1", "60"]
    assert rows[1] == ["job", day, "completed", "digits@1", "60", "0.9333", "0", "digits:test"]


def test_a_list_of_jobs_counts_failures_and_labels_given_later(
    house: House, tmp_path: Path
) -> None:
    house.worker.errors = {3: "broken", 7: "broken"}
    house.submit("--limit", "20")
    (line,) = json.loads(house.run("jobs", "--json").stdout)
    shown = summary_of(house.run("status", "job", "--json"))
    assert (line["failed"], line["accuracy"]) == (2, shown["accuracy"])
    (house.jobs.path("job") / "merge.json").unlink()
    assert json.loads(house.run("jobs", "--json").stdout) == [line]
    given = tmp_path / "true.csv"
    given.write_text("id,label\n" + "".join(f"{i},one\n" for i in range(20)))
    house.run("label", "job", given)
    later = summary_of(house.run("status", "job", "--json"))["accuracy"]
    (line,) = json.loads(house.run("jobs", "--json").stdout)
    assert line["accuracy"] == later != shown["accuracy"]


@pytest.mark.parametrize("given", [None, "a-long-id-that-somebody-has-thought-of-for-a-job"])
def test_in_80_columns_an_id_is_whole(
    house: House, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    def narrow(**options: Any) -> Console:
        return Console(**options | {"width": 80, "force_terminal": True, "color_system": None})

    files = [house.root / f"photograph-{i}.png" for i in range(3)]
    for path, image in zip(files, images_of(range(3)), strict=True):
        path.write_bytes(encode(image))
    house.run("submit", *files, *(["--job-id", given] if given else []))
    (job,) = house.jobs.ids()
    monkeypatch.setattr("rich.console.Console", narrow)
    told = house.run("jobs").stdout
    assert max(map(len, told.splitlines())) <= max(80, len(f"  {files[0]}, "))
    if given:
        assert told.splitlines()[0] == job
        assert all(str(file) in told for file in files)
    else:
        title, _, row = told.splitlines()
        assert title.split() == [
            "job",
            "made",
            "(UTC)",
            "status",
            "model",
            "images",
            "accuracy",
            "failed",
        ]
        assert row.split()[0] == job


def test_a_damaged_job_does_not_hide_the_others(house: House) -> None:
    house.submit()
    house.run("submit", "digits:test", "--job-id", "torn")
    (house.jobs.path("torn") / "job.json").write_text("{")
    done = house.run("jobs", "--json")
    assert [line["id"] for line in json.loads(done.stdout)] == ["job"]
    assert "Job torn is damaged" in done.stderr


# Care


def test_report_writes_a_page_and_sums_up_again(house: House) -> None:
    house.submit()
    assert "`producer report job` writes it" in house.run("status", "job").stdout
    done = house.run("report", "job", "--json")
    assert done.exit_code == 0
    assert summary_of(done)["accuracy"] == pytest.approx(56 / 60)
    path = house.jobs.path("job") / "report.html"
    assert done.stderr == f"Wrote {path}.\n"
    assert path.read_bytes().startswith(b"<!doctype html>")
    told = house.run("status", "job").stdout
    assert "report      report.html" in told
    assert "errors" not in told


def test_report_prints_its_warnings(house: House) -> None:
    house.worker.errors = {7: "damaged image"}
    house.submit()
    done = house.run("report", "job")
    warning = "Some images failed. 1 of 60 has an error record instead of a prediction."
    assert f"  warning     {warning}\n" in done.stdout
    first, second = summary_of(house.run("report", "job", "--json"))["warnings"]
    assert first == warning
    assert "They promise 71.41 % right answers" in second
    assert "  warning  " not in house.run("status", "job").stdout


def test_an_accuracy_over_images_that_people_chose_is_told_as_such(house: House) -> None:
    np.save(house.root / "a.npy", images_of(range(60)))
    house.run("submit", house.root / "a.npy", "--job-id", "job")
    true = house.root.parent / "true.csv"
    true.write_text("id,label\n1,one\n2,zero\n")
    house.run("label", "job", true)
    shown = house.run("status", "job").stdout
    assert "  accuracy    0.5000 over 2 labelled images\n" in shown
    assert "  labels      2 given later, no sample of the others\n" in shown


def test_a_job_without_labels_has_a_report_too(house: House) -> None:
    np.save(house.root / "a.npy", images_of(range(9)))
    house.run("submit", house.root / "a.npy", "--job-id", "job")
    done = house.run("report", "job", "--json")
    assert (done.exit_code, summary_of(done)["labelled"]) == (0, 0)
    assert "No image has a label" in (house.jobs.path("job") / "report.html").read_text()


def test_cancel_stops_a_job_and_resume_takes_it_up_again(house: House) -> None:
    house.queue.serve = lambda message: None
    house.submit("--no-wait")
    assert "is cancelled; `producer resume job`" in house.run("cancel", "job").stderr
    cancelled = house.run("status", "job", "--json")
    assert (cancelled.exit_code, summary_of(cancelled)["status"]) == (1, "cancelled")
    assert "has ended already" in house.run("cancel", "job").stderr
    house.queue.serve = house.worker
    resumed = house.run("resume", "job", "--json")
    assert (resumed.exit_code, summary_of(resumed)["status"]) == (0, "completed")
    assert "has ended already" in house.run("cancel", "job").stderr


def test_resume_with_failed_only_tries_the_failed_images_again(house: House) -> None:
    house.worker.errors = {7: "damaged image"}
    assert house.submit().exit_code == 3
    house.worker.errors = {}
    resumed = house.run("resume", "job", "--failed-only", "--json")
    assert (resumed.exit_code, summary_of(resumed)["images"]["failed"]) == (0, 0)
    assert "1 of 4 batches to do" in resumed.stderr


def test_verify_lists_faults_on_stdout_with_exit_code_5(house: House) -> None:
    house.submit()
    assert house.run("verify", "job").exit_code == 0
    house.jobs.open("job").results.path(2).write_bytes(b"torn")
    done = house.run("verify", "job")
    assert done.exit_code == 5
    assert "000002.npz is damaged" in done.stdout
    assert done.stderr == "4 of 4 batches read, 1 fault found.\n"


def test_a_job_with_reuse_tells_its_hit_rate(house: House) -> None:
    house.worker.reused = 12
    shown = house.submit("--reuse").stdout
    assert house.jobs.get("job").reuse
    assert "  reused      48 predictions, 80.0%\n" in shown
    summary = summary_of(house.run("status", "job", "--json"))
    assert set(summary) == SUMMARY_FIELDS | {"reused", "hit_rate"}
    assert (summary["reused"], summary["hit_rate"]) == (48, 0.8)


def test_a_job_without_reuse_does_not_speak_of_it(house: House) -> None:
    assert "reused" not in house.submit().stdout
    assert not house.jobs.get("job").reuse


def test_labels_given_later_count_in_the_summary_and_leave_the_records_as_they_are(
    house: House,
) -> None:
    house.submit()
    predictions = house.jobs.path("job") / "predictions.parquet"
    before = predictions.read_bytes()
    records = house.run("results", "job").stdout
    true = house.root.parent / "true.csv"
    true.write_text("id,label\n1,one\n2,two\n")
    house.run("label", "job", true)
    for command in ("status", "report"):
        shown = house.run(command, "job").stdout
        assert "  accuracy    0.9667 over all images\n  labels      2 given later\n" in shown
    summary = summary_of(house.run("status", "job", "--json"))
    assert set(summary) == SUMMARY_FIELDS | {"labelled_later"}
    assert (summary["labelled_later"], summary["accuracy"]) == (2, pytest.approx(58 / 60))
    assert predictions.read_bytes() == before
    assert house.run("results", "job").stdout == records
    assert house.run("verify", "job").exit_code == 0


@pytest.mark.parametrize("command", ["status", "report"])
def test_damaged_labels_are_a_sentence_with_the_way_out(house: House, command: str) -> None:
    house.submit()
    true = house.root.parent / "true.csv"
    true.write_text("id,label\n1,one\n")
    house.run("label", "job", true)
    (house.jobs.path("job") / "labels" / "000001.npz").write_bytes(b"torn")
    assert_sentence(house.run(command, "job"), "remove them and run `producer label` again.")


def test_labels_given_while_a_job_runs_count_so_far(house: House) -> None:
    house.queue.serve = lambda message: None
    house.submit("--no-wait")
    job = house.jobs.get("job")
    house.jobs.of(job).results.write(0, house.worker.result(job, 0))
    true = house.root.parent / "true.csv"
    true.write_text("id,label\n1,one\n40,zero\n")
    house.run("label", "job", true)
    summary = summary_of(house.run("status", "job", "--json"))
    assert summary["labelled"] == job.batch_size
    assert summary["accuracy"] == pytest.approx(1 - 3 / job.batch_size)
    assert summary["labelled_later"] == 2


def test_prune_names_what_it_removes_and_a_dry_run_removes_nothing(house: House) -> None:
    house.submit()
    assert house.run("prune", "--older-than", "1m").stdout == ""
    dry = house.run("prune", "--older-than", "0d", "--dry-run")
    assert (dry.stdout, house.jobs.ids()) == ("job\n", ["job"])
    assert house.run("prune", "--older-than", "0d").stdout == "job\n"
    assert house.jobs.ids() == []


def test_names_that_look_like_markup_are_printed_as_they_are(house: House, tmp_path: Path) -> None:
    folder = folder_of({"a.png": encode(images_of([1])[0])}, tmp_path / "[bold]")
    house.run("submit", folder)
    assert "[bold]" in house.run("jobs").stdout


# Fresh interpreters


def fresh(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from producer.cli import main; sys.argv = ['producer', '--help']\n"
        "try: main()\n"
        "except SystemExit as exit: assert exit.code == 0"
    )
    heavy = {"tensorflow", "keras", "celery", "kombu", "redis", "numpy", "pyarrow", "pydantic"}
    assert not heavy & modules_after(code)


@pytest.mark.parametrize(
    "module", ["client", "following", "results.records", "report.writing", "sources.array_sources"]
)
def test_no_part_of_the_producer_loads_tensorflow(module: str) -> None:
    assert not {"tensorflow", "keras"} & modules_after(f"import producer.{module}")


def test_a_celery_app_that_only_sends_loads_no_worker() -> None:
    modules = modules_after("from messaging.app import make_app; make_app('producer').amqp")
    assert "celery.app.amqp" in modules
    assert "celery.worker" not in modules


def test_help_tells_all_exit_codes() -> None:
    text = CliRunner().invoke(cli.cli, ["--help"]).stdout
    lines = [line.split() for line in text.partition("Exit codes:")[2].splitlines() if line]
    assert [line[0] for line in lines] == ["0", "1", "2", "3", "4", "5", "130"]
