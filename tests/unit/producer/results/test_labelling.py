"""`producer label`: true labels for images of a job."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from messaging.settings import BrokerSettings
from producer import cli
from producer.client import PredictionClient
from producer.results.labelling import label_job
from producer.settings import ProducerSettings
from storage.jobs.corrections import read_corrections
from storage.jobs.inputs import write_ids
from storage.jobs.job import Job
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.settings import StorageSettings
from tests.builders import array_job, encode, file_job, image_file, images_of, publish
from tests.fake_queue import FakeQueue


class House:
    """A storage root, a job of ten images in an array, and a file of labels for it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "true.csv"
        self.jobs = JobStore(folder / "storage")
        publish(ModelStore(self.jobs.root))
        self.job = array_job(self.jobs, images_of(range(10)))

    def label(self, text: str, file: str | None = None) -> Result:
        path = self.file.with_name(file or self.file.name)
        path.write_text(text)
        client = PredictionClient(
            storage=StorageSettings(storage=self.jobs.root),
            broker=BrokerSettings(),
            settings=ProducerSettings(),
            queue=FakeQueue(),
        )
        return CliRunner().invoke(cli.cli, ["label", self.job.id, str(path)], obj=client)

    def labels(self) -> list[int]:
        return list(read_corrections(self.jobs.of(self.job)).tolist())

    def files_instead(self, *ids: str) -> None:
        """Make the job one of image files with these ids."""
        content = encode(images_of([1])[0])
        self.jobs.remove(self.job.id)
        self.job = file_job(self.jobs, [image_file(content, id=name) for name in ids])


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_labels_are_kept_and_the_next_command_is_told(house: House) -> None:
    done = house.label("id,label\n3,two\n0,one\n")
    assert done.exit_code == 0
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "Job job: 2 labels, 2 new, 0 changed.",
        "`producer report job` counts with them.",
        "`trainer data append digits job:job` adds these images to a data set.",
    ]
    assert house.labels() == [1, -1, -1, 2, *[-1] * 6]


def test_a_second_file_adds_to_the_first_and_wins(house: House) -> None:
    house.label("id,label\n3,two\n0,one\n")
    assert "3 labels, 1 new, 1 changed." in house.label("id,label\n3,zero\n0,one\n5,one\n").stderr
    assert "3 labels, 0 new, 0 changed." in house.label("id,label\n3,zero\n0,one\n5,one\n").stderr
    assert house.labels() == [1, -1, -1, 0, -1, 1, *[-1] * 4]


def test_the_records_of_a_job_can_be_filled_in(house: House) -> None:
    records = "id,path,label,prediction,score\n0,,,one,0.5\n1,,two,one,0.5\n2,,,,\n"
    assert house.label(records).exit_code == 0
    assert house.labels()[:3] == [-1, 2, -1]


def test_json_lines_are_taken_too(house: House) -> None:
    lines = [{"id": 4, "label": "two"}, {"id": "5", "label": None}]
    assert house.label("\n".join(map(json.dumps, lines)), "true.jsonl").exit_code == 0
    assert house.labels()[4:6] == [2, -1]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("id;label\n3;two\n0;one\n", "is read as separated by semicolons."),
        ("sep=,\nID, Label\n3, two\n0, one\n\n,\n", None),
        ("id,class\n3,two\n0,one\n", "the column `class` is taken as `label`."),
        ("id,label,note\n3,two,x\n0,one,\n", "the column `note` is not used."),
    ],
)
def test_labels_are_read_by_the_rules_of_manifests(
    house: House, text: str, note: str | None
) -> None:
    done = house.label(text)
    assert done.exit_code == 0
    assert house.labels()[:4] == [1, -1, -1, 2]
    told = done.stderr.splitlines()[:-3]
    assert len(told) == (note is not None)
    assert note is None or note in told[0]


@pytest.mark.parametrize(
    ("classes", "written"),
    [(("a", "K\u00e4se", "b"), "Ka\u0308se"), (("1", "2", "3"), "2.0"), (("1", "2", "3"), " 2 ")],
)
def test_a_label_is_the_class_of_that_name_however_it_is_written(
    house: House, classes: tuple[str, ...], written: str
) -> None:
    house.job = house.job.model_copy(update={"id": "named", "labels": classes})
    with house.jobs.draft() as draft:
        house.jobs.commit(draft, house.job)
    assert house.label(f"id,label\n4,{written}\n").exit_code == 0
    assert house.labels()[4] == 1


def test_a_position_for_a_name_is_told(house: House) -> None:
    assert "; text is a name, never a position." in house.label("id,label\n4,1\n").stderr


def test_image_files_are_found_by_their_ids(house: House) -> None:
    house.files_instead("a", "b", "c", "d", "e", "b/x")
    assert house.label("label,id\none,e\ntwo,b/x\n").exit_code == 0
    assert house.labels() == [-1, -1, -1, -1, 1, 2]


def test_images_of_an_array_are_found_by_ids_of_their_own(house: House) -> None:
    write_ids(house.jobs.root / "ids.arrow", [f"scan-{9 - i}" for i in range(10)])
    inputs = house.job.inputs.model_copy(update={"ids": "ids.arrow"})
    house.job = house.job.model_copy(update={"id": "named", "inputs": inputs})
    with house.jobs.draft() as draft:
        house.jobs.commit(draft, house.job)
    assert house.label("id,label\nscan-9,one\nscan-2,two\n").exit_code == 0
    assert house.labels() == [1, *[-1] * 6, 2, -1, -1]
    assert (
        "names the image '3', which job named does not have"
        in house.label("id,label\n3,one\n").stderr
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "id,label\n1,one\n10,one\n",
            "Line 3 of true.csv names the image '10', which job job does",
        ),
        ("id,label\n01,one\n", "'01', which job job does not have: its images are 0 to 9."),
        ("id,label\n\u0663,one\n", "which job job does not have"),
        ("id,label\n-1,one\n", "which job job does not have"),
        ("id,label\n" + "9" * 5000 + ",one\n", "which job job does not have"),
        ("id,label\n1,one\n2,cat\n", "Line 3 of true.csv has the label 'cat', which digits@1"),
        ("id,label\n1,cat\n", "it knows zero, one, two."),
        ("id,label\n1,one\n2,one\n1,two\n", "Line 4 of true.csv names the image '1' again, after"),
        ("id,label\n,one\n", "Line 2 of true.csv has no id"),
        ("id,prediction\n1,one\n", "has no column `label`: name the columns in its first line"),
        (
            "1,one\n2,two\n",
            "has no column `id`: name the columns in its first line, as in id,label",
        ),
        ("id,label\n", "gives no image a label"),
        ("", "has no column `id`"),
        ("id,label\n1,\n", "gives no image a label: fill in its column `label`."),
        ("id,label\n1,one\n2,\0one\n", "Line 3 of true.csv"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_nothing_is_written(
    house: House, text: str, sentence: str
) -> None:
    done = house.label(text)
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert sentence in line.replace(f"{house.file.parent}/", "")
    assert house.labels() == [-1] * 10
    assert not (house.jobs.path("job") / "labels").exists()


def test_an_id_of_two_images_is_refused(house: House) -> None:
    house.files_instead("a", "b", "a")
    assert house.label("id,label\nb,one\n").exit_code == 0
    done = house.label("id,label\na,one\n")
    assert "names the image 'a', but two images of job job have this id" in done.stderr
    assert house.labels() == [-1, 1, -1]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("true.txt", "id,label\n1,one\n", "true.txt must end in .csv, .tsv or .jsonl."),
        ("true.jsonl", '["1"]\n', 'write each line as {"id": "17", "label": "3"}'),
        ("true.jsonl", '{"id": true, "label": "one"}\n', "has a `id` that is neither text nor"),
    ],
)
def test_other_files_are_refused(house: House, name: str, content: str, sentence: str) -> None:
    done = house.label(content, name)
    assert done.exit_code == 1
    assert sentence in done.stderr


def test_a_file_that_is_not_there_is_one_sentence(house: House) -> None:
    client: Any = PredictionClient(
        storage=StorageSettings(storage=house.jobs.root),
        broker=BrokerSettings(),
        settings=ProducerSettings(),
        queue=FakeQueue(),
    )
    done = CliRunner().invoke(cli.cli, ["label", "job", "/nowhere.csv"], obj=client)
    assert done.exit_code == 1
    assert done.stderr == "error: No such file or directory: /nowhere.csv.\n"


def test_a_million_images_take_seconds(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    count = 1_000_000
    job: Job = array_job(store, np.zeros((count, 1, 1, 1), np.uint8), batch_size=20_000)
    path = tmp_path / "true.csv"
    rows = "\n".join(f"{i},{job.labels[i % 3]}" for i in range(0, count, 10))
    path.write_text(f"id,label\n{rows}\n")
    began = time.process_time()
    done = label_job(store.of(job), path)
    assert time.process_time() - began < 10  # half a second on a machine that does nothing else
    assert (done.total, done.new) == (100_000, 100_000)
    assert read_corrections(store.of(job))[::10].tolist() == [i % 3 for i in range(0, count, 10)]
