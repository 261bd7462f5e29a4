from pathlib import Path

import numpy as np
import pytest

from storage.datasets import DataSet, DatasetStore
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
