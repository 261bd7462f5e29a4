"""Adding labelled images to a data set, as its next version."""

import json
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imaging.fingerprints import fingerprints
from imaging.images import Shape
from storage.datasets.store import Appended, DataSet, DataSetDraft, DatasetStore, Parent
from storage.errors import BadName, Corrupt, NotFound
from storage.files import sha256_of
from storage.jobs.corrections import add_corrections
from storage.jobs.store import JobStore
from storage.settings import StorageSettings
from tests.builders import LABELS, SHAPE, array_job, encode, file_job, image_file, images_of
from trainer.datasets.appending import Outcome, append_images, choose
from trainer.datasets.arrays import LabelledArrays, LabelledImages
from trainer.datasets.new_images import NewImages
from trainer.errors import SourceError

Pairs = Sequence[tuple[int, int]]
"""First pixel and class index of images."""

TRAIN: Pairs = [(10, 0), (11, 1), (12, 2)]
TEST: Pairs = [(20, 0), (21, 1)]


def part(pairs: Pairs, shape: Shape = SHAPE) -> LabelledImages:
    firsts, labels = zip(*pairs, strict=True) if pairs else ((), ())
    return LabelledImages(images=images_of(firsts, shape), labels=np.array(labels, np.int64))


class House:
    """A storage root with the data set `small`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = DatasetStore(root)
        self.jobs = JobStore(root)
        self.first = LabelledArrays(
            train=part(TRAIN), test=part(TEST), classes=LABELS, origin="by hand"
        ).save(self.store, "small")

    def append(self, source: str, name: str = "small") -> Outcome:
        settings = StorageSettings(storage=self.root)
        images = NewImages(source, self.jobs, settings)
        return append_images(self.store, name, images.origin, images.read)

    def append_pairs(self, pairs: Pairs) -> Outcome:
        return append_images(self.store, "small", "somewhere", lambda *_: part(pairs))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "storage")


def training(dataset: DataSet) -> list[tuple[int, int]]:
    """First pixel and label of the training images."""
    firsts = np.asarray(dataset.images("train"))[:, 0, 0, 0]
    return list(zip(firsts.tolist(), dataset.labels("train").tolist(), strict=True))


# What is added


def test_new_images_follow_those_that_are_there_in_the_next_version(house: House) -> None:
    done = house.append_pairs([(31, 2), (30, 1)])
    assert str(done) == "Data set small@2: 2 images added."
    assert training(house.store.get("small")) == [*TRAIN, (31, 2), (30, 1)]
    assert training(house.store.get("small@1")) == TRAIN
    house.store.get("small").verify()
    about = done.dataset.description
    assert about.parent == Parent(number=1, sha256=house.first.description.sha256)
    assert about.appended == (Appended(source="somewhere", added=2, corrected=0),)
    assert (about.origin, about.classes, about.held_out) == ("by hand", LABELS, 0)


def test_each_image_is_added_corrected_or_dropped(house: House) -> None:
    given = [(30, 0), (10, 2), (11, 1), (20, 0), (21, 2), (30, 0), (31, 1), (31, 2), (12, 2)]
    done = house.append_pairs(given)
    assert str(done) == (
        "Data set small@2: 2 images added, 1 corrected, 4 dropped as duplicates, "
        "2 because they are test images."
    )
    # Of 31 the last label counts, as it does of an image that is there already.
    assert training(done.dataset) == [(10, 2), (11, 1), (12, 2), (30, 0), (31, 2)]
    assert done.added + done.corrected + done.duplicates + done.held_out == len(given)


def test_singular_counts_read_well(house: House) -> None:
    done = house.append_pairs([(30, 0), (10, 0), (20, 0)])
    assert str(done) == (
        "Data set small@2: 1 image added, 1 dropped as a duplicate, 1 because it is a test image."
    )


@pytest.mark.parametrize("pairs", [[(10, 0), (11, 1)], [(20, 0), (21, 0)], []])
def test_what_changes_nothing_makes_no_version(house: House, pairs: Pairs) -> None:
    done = house.append_pairs(pairs)
    assert str(done).startswith("Data set small@1: 0 images added")
    assert ("dropped" in str(done)) == bool(pairs)
    assert house.store.numbers("small") == [1]
    assert [entry.name for entry in house.store.folder.iterdir()] == ["small"]


def test_an_image_that_is_there_twice_is_corrected_in_both_places(house: House) -> None:
    twice = LabelledArrays(
        train=part([(10, 0), (11, 1), (10, 1)]), test=part(TEST), classes=LABELS, origin="x"
    )
    twice.save(house.store, "small", replace=True)
    done = house.append_pairs([(10, 2)])
    assert (done.corrected, done.added) == (1, 0)
    assert training(done.dataset) == [(10, 2), (11, 1), (10, 2)]


def test_appending_again_adds_nothing_and_more_adds_to_the_newest(house: House) -> None:
    house.append_pairs([(30, 0)])
    assert house.append_pairs([(30, 0)]).dataset.number == 2
    third = house.append_pairs([(31, 0), (30, 1)]).dataset
    assert third.number == 3
    assert [(a.added, a.corrected) for a in third.description.appended] == [(1, 0), (1, 1)]


def test_arrays_that_stay_the_same_are_not_copied(house: House) -> None:
    second = house.append_pairs([(30, 0)]).dataset
    for path in (second.images_path("test"), second.labels_path("test")):
        assert path.stat().st_ino == (house.first.folder / path.name).stat().st_ino
    third = house.append_pairs([(30, 1)]).dataset  # corrects, adds nothing
    assert third.images_path("train").stat().st_ino == second.images_path("train").stat().st_ino
    assert training(second)[-1] == (30, 0)


def test_where_links_are_impossible_arrays_are_copied(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refuse)
    second = house.append_pairs([(30, 0)]).dataset
    assert second.images_path("test").stat().st_nlink == 1
    second.verify()


def test_writers_at_once_lose_no_image(house: House) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: house.append_pairs([(100 + i, i % 3)]), range(12)))
    newest = house.store.get("small")
    assert newest.number == 13
    assert sorted(training(newest)[3:]) == [(100 + i, i % 3) for i in range(12)]


def test_a_damaged_or_unknown_data_set_is_not_added_to(house: House) -> None:
    with pytest.raises(NotFound, match="There is no data set 'other'"):
        append_images(house.store, "other", "x", lambda *_: part([(1, 0)]))
    with pytest.raises(BadName):
        append_images(house.store, "small@1", "x", lambda *_: part([(1, 0)]))
    house.first.labels_path("test").unlink()
    with pytest.raises(Corrupt, match="small@1 is damaged"):
        house.append_pairs([(30, 0)])


def test_no_test_image_is_trained_on_whatever_is_appended(house: House) -> None:
    """Random appends, many of them of test images: none may reach the rows to train on."""
    random = np.random.default_rng(1)
    tested = set(fingerprints(house.first.images("test")).tolist())
    for _ in range(10):
        pairs = list(zip(random.integers(10, 60, 8), random.integers(0, 3, 8), strict=True))
        dataset = house.append_pairs(pairs).dataset
        rows = dataset.training_rows()
        assert not tested & set(fingerprints(dataset.images("train")[rows]).tolist())
        assert len(rows) == dataset.split("train").count == len(set(training(dataset)))


def test_memory_does_not_grow_with_the_pixels(tmp_path: Path) -> None:
    shape = (64, 64, 3)
    count = 4_000  # 49 MB of pixels on either side
    arrays = []
    for name in ("here", "new"):
        path = tmp_path / f"{name}.npy"
        pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *shape))
        pixels[:, 0, 0, 0], pixels[:, 0, 1, 0] = np.arange(count) % 251, np.arange(count) // 251
        pixels[:, 0, 2, 0] = name == "new"
        arrays.append(np.load(path, mmap_mode="r"))
    labels = np.zeros(count, np.int64)
    store = DatasetStore(tmp_path)
    test = LabelledImages(images=np.full((1, *shape), 255, np.uint8), labels=labels[:1])
    here = LabelledImages(images=arrays[0], labels=labels)
    LabelledArrays(train=here, test=test, classes=LABELS, origin="x").save(store, "large")
    tracemalloc.start()
    done = append_images(
        store, "large", "x", lambda *_: LabelledImages(images=arrays[1], labels=labels)
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert done.added == count
    assert peak < 30_000_000  # a piece of pixels at a time, and the digests


# Sources


def write_classes(folder: Path, pairs: Pairs, shape: Shape = SHAPE) -> Path:
    for first, label in pairs:
        path = folder / LABELS[label] / f"{first}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(images_of([first], shape)[0]))
    return folder


def test_a_folder_may_have_few_classes_and_its_images_are_fitted(
    house: House, tmp_path: Path
) -> None:
    folder = write_classes(tmp_path / "new", [(30, 1)])
    path = folder / "one" / "large.png"
    path.write_bytes(encode(np.full((8, 8, 3), 77, np.uint8)))
    done = house.append(f"folder:{folder}")
    assert sorted(training(done.dataset)[3:]) == [(30, 1), (77, 1)]
    assert done.dataset.description.appended[0].source == f"folder:{folder}"


def test_of_a_source_with_test_images_only_the_training_images_are_taken(
    house: House, tmp_path: Path
) -> None:
    write_classes(tmp_path / "new" / "train", [(30, 1)])
    write_classes(tmp_path / "new" / "test", [(31, 1)])
    assert training(house.append(f"folder:{tmp_path / 'new'}").dataset)[3:] == [(30, 1)]
    new, tested = part([(40, 2)]), part([(41, 2)])
    np.savez(
        tmp_path / "a.npz",
        x_train=new.images,
        y_train=new.labels,
        x_test=tested.images,
        y_test=tested.labels,
    )
    assert training(house.append(f"npz:{tmp_path / 'a.npz'}").dataset)[4:] == [(40, 2)]


def test_an_npz_file_needs_no_test_images_and_may_name_its_classes(
    house: House, tmp_path: Path
) -> None:
    path = tmp_path / "a.npz"
    names = np.array(["two", "none", "zero"])
    np.savez(path, x_train=images_of([30, 31]), y_train=[0, 2], classes=names)
    assert training(house.append(f"npz:{path}").dataset)[3:] == [(30, 2), (31, 0)]


@pytest.mark.parametrize(
    ("given", "sentence"), [([1, 2], None), ([2], None), ([0], "images of 0"), ([1, 0], "of 0")]
)
def test_numbers_are_names_where_classes_are_numbers_whichever_occur(
    tmp_path: Path, given: list[int], sentence: str | None
) -> None:
    store = DatasetStore(tmp_path)
    LabelledArrays(
        train=part([(10, 0)]), test=part([(20, 1)]), classes=("2", "1"), origin="x"
    ).save(store, "small")
    np.savez(tmp_path / "a.npz", x_train=images_of([30 + v for v in given]), y_train=given)
    images = NewImages(f"npz:{tmp_path / 'a.npz'}", JobStore(tmp_path), StorageSettings())
    if sentence:
        with pytest.raises(SourceError, match=sentence):
            append_images(store, "small", images.origin, images.read)
        return
    done = append_images(store, "small", images.origin, images.read)
    assert training(done.dataset)[1:] == [(30 + value, {1: 1, 2: 0}[value]) for value in given]


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"x_train": images_of([1], (4, 5, 1)), "y_train": [0]}, "are 4 x 5 x 1, those of .* 4 x"),
        ({"x_train": images_of([1]), "y_train": [3]}, "has images of 3, which data set small"),
        ({"x_train": images_of([1]), "y_train": [-1]}, "has images of -1, which data set small"),
        (
            {"x_train": images_of([1]), "y_train": [0], "classes": ["cat"]},
            r"images of cat, which data set small does not have \(it has zero, one, two\): make a",
        ),
        ({"x_train": images_of([1]), "y_train": [1], "classes": ["one"]}, "must be class indices"),
        ({"x_train": images_of([1]), "y_train": [0, 1]}, "has 1 image and 2 labels"),
        ({"x_train": images_of([1])}, "no array 'y_train': x_train and y_train are needed"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(
    house: House, tmp_path: Path, arrays: dict[str, Any], sentence: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(SourceError, match=sentence) as caught:
        house.append(f"npz:{tmp_path / 'a.npz'}")
    assert "\n" not in str(caught.value)
    assert house.store.numbers("small") == [1]


@pytest.mark.parametrize("source", ["pets", "zip:a", "job:", "folder:"])
def test_what_is_no_source_is_refused(house: House, source: str) -> None:
    with pytest.raises(SourceError, match=r"idx:DIR or cifar:DIR, or job:JOB\."):
        house.append(source)


def test_a_folder_without_classes_or_with_another_class_is_refused(
    house: House, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match="is no folder of images"):
        house.append("folder:/nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="has no subfolders"):
        house.append(f"folder:{tmp_path / 'empty'}")
    write_classes(tmp_path / "new", [(1, 1)])
    (tmp_path / "new" / "one").rename(tmp_path / "new" / "cat")
    with pytest.raises(SourceError, match="has images of cat"):
        house.append(f"folder:{tmp_path / 'new'}")


# Jobs


def correct(house: House, job: Any, *pairs: tuple[int, int]) -> None:
    positions, labels = zip(*pairs, strict=True)
    add_corrections(house.jobs.of(job), np.array(positions, np.int64), np.array(labels, np.int32))


def test_the_labelled_images_of_an_array_job_are_added(house: House) -> None:
    job = array_job(house.jobs, images_of([30, 31, 32, 33, 34, 20, 36, 37, 38, 39]))
    correct(house, job, (9, 2), (0, 1), (5, 1), (4, 0))
    done = house.append("job:job")
    assert training(done.dataset)[3:] == [(30, 1), (34, 0), (39, 2)]
    assert done.held_out == 1  # 20 is a test image
    assert done.dataset.description.appended == (Appended(source="job:job", added=3, corrected=0),)


def test_an_array_of_another_form_is_fitted_as_a_worker_does_it(house: House) -> None:
    flat = np.full((2, 8, 8), 90, np.uint8)
    job = array_job(house.jobs, flat)
    correct(house, job, (1, 0))
    assert training(house.append("job:job").dataset)[3:] == [(90, 0)]


def test_the_labelled_files_of_a_job_are_decoded_and_a_changed_one_is_left_out(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    stored = house.root / "stored.png"
    stored.write_bytes(encode(images_of([35])[0]))
    files = [image_file(encode(images_of([30 + i])[0]), i) for i in range(5)]
    files.append(image_file(stored.read_bytes(), 5, content=None, stored="stored.png"))
    files.append(image_file(b"no image", 6))
    job = file_job(house.jobs, files)
    stored.write_bytes(encode(images_of([99])[0]))
    correct(house, job, (4, 2), (5, 1), (6, 1), (1, 0))
    done = house.append("job:job")
    assert training(done.dataset)[3:] == [(31, 0), (34, 2)]
    assert "Left out: 2 images of job job: image-5 (file has changed since" in caplog.text
    assert "; image-6 (not an image of" in caplog.text


def test_a_job_without_labels_or_with_other_classes_is_refused(house: House) -> None:
    LabelledArrays(
        train=part(TRAIN[:2]), test=part(TEST), classes=LABELS[:2], origin="by hand"
    ).save(house.store, "pair")
    job = array_job(house.jobs, images_of(range(10)))
    with pytest.raises(SourceError, match=r"`producer label job FILE\.csv`"):
        house.append("job:job", "pair")
    with pytest.raises(NotFound, match="no job 'other'"):
        house.append("job:other", "pair")
    correct(house, job, (3, 2))
    with pytest.raises(SourceError, match="job:job has images of two, which data set pair"):
        house.append("job:job", "pair")
    correct(house, job, (3, 1))  # the later label wins
    assert training(house.append("job:job", "pair").dataset)[2:] == [(3, 1)]


def test_the_description_on_storage_says_it_all(house: House) -> None:
    dataset = house.append_pairs([(30, 0), (11, 2)]).dataset
    written = json.loads((dataset.folder / "dataset.json").read_text())
    assert written["number"] == 2
    assert written["parent"] == {"number": 1, "sha256": house.first.description.sha256}
    assert written["appended"] == [{"source": "somewhere", "added": 1, "corrected": 1}]
    assert written["splits"]["train"]["images_sha256"] == sha256_of(dataset.images_path("train"))


def test_choosing_among_nothing_changes_nothing(house: House) -> None:
    choice = choose(house.first, part([]))
    assert (len(choice.added), choice.corrected, choice.duplicates) == (0, 0, 0)
    assert choice.labels.tolist() == [label for _, label in TRAIN]


def test_a_reader_that_fails_leaves_nothing_behind(house: House) -> None:
    def fail(dataset: DataSet, arrived: DataSetDraft) -> LabelledImages:
        arrived.add_split("train", 3)
        raise SourceError("It cannot be read.")

    with pytest.raises(SourceError):
        append_images(house.store, "small", "x", fail)
    assert [entry.name for entry in house.store.folder.iterdir()] == ["small"]
