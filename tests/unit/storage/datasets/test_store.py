import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imaging.fingerprints import fingerprints
from storage.datasets.store import DataSet, DatasetStore, Parent, version_at
from storage.errors import AlreadyExists, BadName, Corrupt, NotFound
from tests.builders import LABELS, SHAPE, images_of


def add(store: DatasetStore, firsts: list[int], *, replace: bool = False) -> DataSet:
    with store.draft(SHAPE) as draft:
        for split, values in (("train", firsts), ("test", firsts[:2])):
            images, labels = draft.add_split(split, len(values))
            images[:] = images_of(values)
            labels[:] = np.array(values) % len(LABELS)
        return store.commit(draft, "small", LABELS, "by hand", replace=replace)


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_an_added_data_set_is_read_back_as_memory_mapped_arrays(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path)
    add(store, [7, 8, 9])
    data = store.get("small")
    assert store.names() == ["small"]
    assert isinstance(data.images("train"), np.memmap)
    np.testing.assert_array_equal(data.images("train"), images_of([7, 8, 9]))
    assert data.labels("test").tolist() == [1, 2]
    assert data.labels("test").dtype == np.int32
    assert {name: split.count for name, split in data.description.splits.items()} == {
        "train": 3,
        "test": 2,
    }
    assert (data.description.shape, data.description.classes) == (SHAPE, LABELS)
    data.verify()


def test_nothing_is_visible_of_a_draft_that_is_not_committed(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path)
    with store.draft(SHAPE) as draft:
        draft.add_split("train", 3)
        assert store.names() == []
    assert list(store.folder.iterdir()) == []


def test_the_same_content_added_again_is_left_as_it_is(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path)
    first = add(store, [7, 8, 9])
    again = add(store, [7, 8, 9])
    assert again.description == first.description  # the date of the first one, too
    assert store.names() == ["small"]


def test_other_content_under_the_same_name_is_refused_unless_it_shall_replace(
    tmp_path: Path,
) -> None:
    store = DatasetStore(tmp_path)
    add(store, [7, 8, 9])
    with pytest.raises(AlreadyExists, match="--replace"):
        add(store, [7, 8, 10])
    np.testing.assert_array_equal(store.get("small").images("train"), images_of([7, 8, 9]))
    add(store, [7, 8, 10], replace=True)
    np.testing.assert_array_equal(store.get("small").images("train"), images_of([7, 8, 10]))
    store.get("small").verify()
    assert [entry.name for entry in store.folder.iterdir()] == ["small"]


@pytest.mark.parametrize("file", ["train_images.npy", "test_labels.npy"])
def test_damage_to_any_array_is_detected(tmp_path: Path, file: str) -> None:
    data = add(DatasetStore(tmp_path), [7, 8, 9])
    flip_last_byte(data.folder / file)
    with pytest.raises(Corrupt, match=f"{file} does not match its digest.*trainer data add small"):
        data.verify()


def test_a_missing_array_is_detected(tmp_path: Path) -> None:
    data = add(DatasetStore(tmp_path), [7, 8, 9])
    data.images_path("train").unlink()
    with pytest.raises(Corrupt, match="train_images"):
        data.verify()


def test_an_unreadable_description_is_corrupt_and_can_be_replaced(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path)
    data = add(store, [7, 8, 9])
    (data.folder / "dataset.json").write_text('{"name": "small"')
    with pytest.raises(Corrupt, match="--replace"):
        store.get("small")
    with pytest.raises(Corrupt, match="--replace"):
        add(store, [7, 8, 9])
    add(store, [7, 8, 9], replace=True)
    store.get("small").verify()


def test_an_unknown_data_set_or_split_is_named_with_what_there_is(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path)
    with pytest.raises(NotFound, match=r"no data set 'small' \(none so far\)"):
        store.get("small")
    add(store, [7, 8, 9])
    with pytest.raises(NotFound, match=r"no data set 'other' \(small\)"):
        store.get("other")
    with pytest.raises(NotFound, match="no split 'dev', only train, test"):
        store.get("small").images("dev")
    with pytest.raises(NotFound):
        store.get("small").labels("../../other")
    with pytest.raises(BadName):
        store.get("../models")


def test_the_digest_tells_images_labels_classes_and_shape_apart(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path)

    def digest(
        firsts: list[int], labels: list[int], classes: tuple[str, ...], height: int = 4
    ) -> str:
        shape = (height, 16 // height, 1)
        with store.draft(shape) as draft:
            images, marks = draft.add_split("train", len(firsts))
            images[:] = images_of(firsts, shape)
            marks[:] = labels
            return draft.describe("any", classes, "by hand").sha256

    known = digest([1, 2], [0, 1], LABELS)
    assert digest([1, 2], [0, 1], LABELS) == known
    others = {
        digest([1, 3], [0, 1], LABELS),
        digest([1, 2], [0, 2], LABELS),
        digest([1, 2], [0, 1], ("a", "b", "c")),
        digest([1, 2], [0, 1], LABELS, height=2),
    }
    assert len(others | {known}) == 5


# Versions


def folders(store: DatasetStore) -> list[str]:
    return sorted(entry.name for entry in (store.folder / "small").iterdir())


def test_other_content_is_the_next_version_and_names_its_parent(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path)
    first, second = add(store, [7, 8, 9]), add(store, [7, 8, 10], replace=True)
    assert (str(first), str(second)) == ("small@1", "small@2")
    assert folders(store) == ["1", "2"]
    assert str(store.get("small")) == "small@2"
    assert second.description.parent == Parent(number=1, sha256=first.description.sha256)
    np.testing.assert_array_equal(store.get("small@1").images("train"), images_of([7, 8, 9]))
    np.testing.assert_array_equal(store.get("small@2").images("train"), images_of([7, 8, 10]))
    written = json.loads((second.folder / "dataset.json").read_text())
    assert (written["number"], written["sha256"]) == (2, second.description.sha256)


def test_the_content_of_the_newest_version_makes_no_new_one(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path)
    add(store, [7, 8, 9])
    assert str(add(store, [7, 8, 9], replace=True)) == "small@1"
    add(store, [7, 8, 10], replace=True)
    assert str(add(store, [7, 8, 9], replace=True)) == "small@3"  # a return to former images


def test_the_same_content_mends_a_damaged_version(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path)
    data = add(store, [7, 8, 9])
    flip_last_byte(data.folder / "test_images.npy")
    data.labels_path("train").unlink()
    assert add(store, [7, 8, 9], replace=True).description == data.description
    store.get("small@1").verify()
    assert folders(store) == ["1"]


@pytest.mark.parametrize("reference", ["small@0", "small@3", "small@x", "small@", "small@-1"])
def test_a_version_that_is_not_there_is_named(tmp_path: Path, reference: str) -> None:
    store = DatasetStore(tmp_path)
    add(store, [7, 8, 9])
    with pytest.raises(NotFound, match=r"only 1\.|write small@2, say"):
        store.get(reference)


def test_two_writers_at_once_get_two_numbers(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path)
    add(store, [0])

    def replace(number: int) -> str:
        return str(add(DatasetStore(tmp_path), [number], replace=True))

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(replace, range(1, 13)))
    assert sorted(made) == sorted(f"small@{n}" for n in range(2, 14))
    for number in range(2, 14):
        version = store.get(f"small@{number}")
        before = store.get(f"small@{number - 1}").description
        assert version.description.parent == Parent(number=number - 1, sha256=before.sha256)
    assert list(store.folder.glob(".*")) == []


def test_a_writer_killed_before_its_commit_leaves_no_version(tmp_path: Path) -> None:
    program = """if True:
        import os, signal, sys
        from pathlib import Path
        from storage.datasets.store import DatasetStore
        with DatasetStore(Path(sys.argv[1])).draft((4, 4, 1)) as draft:
            draft.add_split("train", 3)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    store = DatasetStore(tmp_path)
    add(store, [7])
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (store.names(), folders(store)) == (["small"], ["1"])
    assert str(add(store, [8], replace=True)) == "small@2"


# Training images that are test images


def test_training_images_that_are_in_test_are_counted_and_not_trained_on(tmp_path: Path) -> None:
    data = add(DatasetStore(tmp_path), [7, 8, 9, 7])  # 7 and 8 are the test images
    assert data.description.held_out == 3
    assert data.training_rows().tolist() == [2]


def test_without_such_images_all_rows_are_trained_on(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path)
    with store.draft(SHAPE) as draft:
        for split, firsts in (("train", [1, 2, 3]), ("test", [4])):
            draft.add_split(split, len(firsts))[0][:] = images_of(firsts)
        data = store.commit(draft, "small", LABELS, "by hand")
    assert data.description.held_out == 0
    assert data.training_rows().tolist() == [0, 1, 2]


# Fingerprints


def test_equal_pixels_have_equal_fingerprints_across_pieces(monkeypatch: Any) -> None:
    images = np.random.default_rng(1).integers(0, 256, (50, 3, 4, 2), np.uint8)
    images[33] = images[2]
    whole = fingerprints(images)
    assert len(np.unique(whole)) == 49
    assert whole[33] == whole[2]
    monkeypatch.setattr("imaging.fingerprints.PIECE_BYTES", 100)
    np.testing.assert_array_equal(fingerprints(images), whole)
    np.testing.assert_array_equal(fingerprints(images[::2]), whole[::2])
    assert fingerprints(images[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("datasets/mnist/12/test_images.npy", "mnist@12"),
        ("datasets/mnist/test_images.npy", None),
        ("jobs/first/inputs/images.npy", None),
        ("arrays/images.npy", None),
        ("datasets/mnist/notes/12/images.npy", None),
    ],
)
def test_a_path_tells_the_version_it_belongs_to(path: str, version: str | None) -> None:
    assert version_at(path) == version
