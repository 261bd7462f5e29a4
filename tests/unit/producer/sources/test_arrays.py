"""Arrays as people have them: which are images, what their labels mean, which ids they have."""

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from producer.errors import EmptySource, SourceError, UnknownLabel
from storage.datasets.store import DatasetStore
from storage.jobs.inputs import UNLABELLED, ArrayInputs, read_ids
from tests.builders import LABELS, SHAPE, images_of
from tests.sources import Prepare

RGB = (8, 8, 3)


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    (tmp_path / "storage").mkdir()
    return Prepare(tmp_path / "storage")


def pixels(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


# Shapes


@pytest.mark.parametrize("kind", ["memory", "npy", "npy on storage", "npz"])
@pytest.mark.parametrize("shape", [(64, 48, 3), (64, 48, 1), (64, 48, 4), (48, 64, 3), (8, 8, 3)])
def test_an_array_with_channels_last_is_one_image_and_that_is_said(
    prepare: Prepare, tmp_path: Path, kind: str, shape: tuple[int, ...]
) -> None:
    image = pixels(*shape)
    folder = prepare.root if "storage" in kind else tmp_path
    if kind == "npz":
        np.savez(folder / "one.npz", images=image)
    else:
        np.save(folder / "one.npy", image)
    source: Any = image if kind == "memory" else folder / f"one.{kind[:3]}"
    done = prepare(source, shape=(28, 28, 3))
    assert done.total == 1
    np.testing.assert_array_equal(prepare.array("images.npy"), image[np.newaxis], strict=True)
    assert f"has the shape {shape} and is taken as one image" in " ".join(done.notes)


@pytest.mark.parametrize(
    ("shape", "model", "total"),
    [
        ((10, 28, 28), (28, 28, 1), 10),
        ((3, 28, 28), (28, 28, 1), 3),
        ((10, 4, 4), (4, 4, 1), 10),
        ((10, 28, 3), (28, 3, 1), 10),
        ((4, 4, 4), (4, 4, 4), 1),
        ((6, 5, 2), (6, 5, 2), 1),
        ((6, 5, 2), (5, 2, 1), 6),
    ],
)
def test_an_array_that_is_what_the_model_takes_is_taken_as_that(
    prepare: Prepare, shape: tuple[int, ...], model: tuple[int, ...], total: int
) -> None:
    assert prepare(pixels(*shape), shape=model).total == total


def test_three_grey_images_for_a_model_of_colour_may_be_one_with_channels_first(
    prepare: Prepare,
) -> None:
    done = prepare(pixels(3, 64, 48), shape=RGB)
    assert done.total == 3
    assert "taken as 3 grey images of 64 x 48" in done.notes[0]
    assert "np.transpose(x, (1, 2, 0))" in done.notes[0]
    assert list(prepare(pixels(3, 64, 48)).notes) == []


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((5, 3, 64, 48), r"channels first: put them last with np\.transpose\(x, \(0, 2, 3, 1\)\)"),
        ((5, 1, 28, 28), "channels first"),
        ((1, 4, 28, 28), "channels first"),
        ((5, 64, 48, 2), r"2 channels: images have 1 .* 3 .* or 4 .*x\[\.\.\., :1\]"),
        ((5, 4, 4, 2), "2 channels"),
        ((64, 48, 2), r"one image of 2 channels.*x\[\.\.\., :1\].*64 grey images of 48 x 2 are x"),
        ((5, 2, 64, 48), "channels first"),
        ((5, 64, 48, 7), "7 channels"),
        ((28, 28), r"single grey one becomes such with x\[np\.newaxis\]"),
        ((5, 784), r"x\.reshape\(-1, H, W\)"),
        ((), r"has the shape \(\)"),
    ],
)
def test_what_has_no_shape_of_images_is_told_with_the_way_out(
    prepare: Prepare, shape: tuple[int, ...], sentence: str
) -> None:
    with pytest.raises(SourceError, match=sentence):
        prepare(pixels(*shape), shape=RGB)


@pytest.mark.parametrize("shape", [(5, 8, 8, 2), (5, 3, 9, 9), (5, 8, 8, 6)])
def test_a_model_may_take_what_no_image_has(prepare: Prepare, shape: tuple[int, ...]) -> None:
    assert prepare(pixels(*shape), shape=shape[1:]).total == 5


@pytest.mark.parametrize(
    "shape", [(0, 28, 28), (0, 8, 8, 3), (5, 0, 8, 3), (5, 8, 8, 0), (0, 0, 0)]
)
def test_arrays_without_pixels_hold_no_images(prepare: Prepare, shape: tuple[int, ...]) -> None:
    with pytest.raises(EmptySource, match="holds no images"):
        prepare(pixels(*shape))


@pytest.mark.parametrize(
    ("dtype", "sentence"),
    [
        ("float32", r"x\.round\(\)\.astype\('uint8'\), of x \* 255 where pixels go from 0 to 1"),
        ("float16", "holds float16"),
        ("int64", r"holds int64: .* x\.astype\('uint8'\)"),
        ("uint16", r"x\.astype\('uint8'\), of x >> 8 where pixels have 16 bits"),
        ("bool", r"x \* np\.uint8\(255\)"),
        ("complex64", "holds complex64, which are no pixels"),
        ("object", r"holds Python objects: .* np\.stack\(list\(x\)\)"),
    ],
)
def test_other_types_of_pixels_are_told_how_to_become_bytes(
    prepare: Prepare, dtype: str, sentence: str
) -> None:
    with pytest.raises(SourceError, match=sentence):
        prepare(np.ones((2, 8, 8, 3)).astype(dtype))


# Labels


def labels_of(prepare: Prepare, given: Any, classes: tuple[str, ...]) -> list[int]:
    prepare(images_of(range(len(given))), true_labels=given, labels=classes)
    return list(prepare.array("labels.npy").tolist())


@pytest.mark.parametrize(
    ("classes", "meanings"),
    [
        (("zero", "one", "two"), {0: 0, 1: 1, 2: 2}),
        (("1", "2", "3"), {1: 0, 2: 1, 3: 2}),
        (("3", "5", "7"), {3: 0, 5: 1, 7: 2}),
        (("0", "1", "10", "2"), {0: 0, 1: 1, 2: 3, 10: 2}),
        (("1.0", "2.0"), {1: 0, 2: 1}),
        (("01", "02"), {1: 0, 2: 1}),
    ],
)
@pytest.mark.parametrize("convert", [list, np.array, lambda x: [float(v) for v in x], np.float32])
def test_what_a_number_means_does_not_depend_on_which_numbers_occur(
    prepare: Prepare, classes: tuple[str, ...], meanings: dict[int, int], convert: Any
) -> None:
    assert labels_of(prepare, convert(list(meanings)), classes) == list(meanings.values())
    for number, index in meanings.items():
        assert labels_of(prepare, convert([number]), classes) == [index]


@pytest.mark.parametrize("occurring", [[0], [0, 1], [0, 1, 2], [3, 0]])
def test_positions_for_a_model_whose_classes_are_numbers_are_never_guessed(
    prepare: Prepare, occurring: list[int]
) -> None:
    with pytest.raises(UnknownLabel, match=r"\(0\).*whole numbers are names here"):
        labels_of(prepare, occurring, ("1", "2", "3"))


@pytest.mark.parametrize(
    "given",
    [
        [1.0, float("nan"), 2.0],
        [1, None, 2],
        np.array([1, None, 2], object),
        np.ma.masked_array([1, 9, 2], [False, True, False]),
        np.array([[1], [-1], [2]]),
        ["one", "", "two"],
        ["one", float("nan"), "two"],
        np.array(["one", None, np.str_("two")], object),
        [" one", " ", "two\n"],
    ],
)
def test_a_missing_label_changes_no_other(prepare: Prepare, given: Any) -> None:
    assert labels_of(prepare, given, LABELS) == [1, UNLABELLED, 2]


def test_a_class_called_minus_one_is_meant_by_minus_one(prepare: Prepare) -> None:
    assert labels_of(prepare, [-1, 0, 1], ("-1", "0", "1")) == [0, 1, 2]
    assert labels_of(prepare, [-1, None, 1], ("-1", "0", "1")) == [0, UNLABELLED, 2]
    assert labels_of(prepare, [-1, 1], LABELS) == [UNLABELLED, 1]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([0.5, 1.0], "no whole numbers"),
        ([float("inf")], "no whole numbers"),
        ([1e300], "no whole numbers"),
        ([True, False], "single values of one kind .bool."),
        (np.array([True, False]), "bool: use whole numbers or text"),
        ([1, "one"], r"of one kind \(int, str\)"),
        (np.eye(2), r"y\.argmax\(axis=1\)"),
        ([[0], [0, 1]], "no list of single values"),
        ([b"one", b"two"], r"of one kind \(bytes\)"),
    ],
)
def test_labels_that_are_none_are_told(prepare: Prepare, given: Any, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        labels_of(prepare, given, LABELS)


def test_text_is_a_name_and_never_a_position(prepare: Prepare) -> None:
    with pytest.raises(UnknownLabel, match="text is a name, never a position"):
        labels_of(prepare, ["0", "1"], LABELS)
    assert labels_of(prepare, ["1.0", "2"], ("1", "2")) == [0, 1]


@pytest.mark.parametrize(
    ("given", "classes", "note"),
    [
        ([0, 2], LABELS, "positions among the classes of digits@1 (0 is `zero`, 2 is `two`)"),
        ([1, 2], ("1", "2"), "names of classes of digits@1 (1 is `1`, 2 is `2`)"),
        ([1, 0], ("0", "1"), None),
        (["one"], LABELS, None),
        ([-1], LABELS, None),
    ],
)
def test_what_numbers_were_taken_for_is_said_where_it_can_be_mistaken(
    prepare: Prepare, given: Any, classes: tuple[str, ...], note: str | None
) -> None:
    done = prepare(images_of(range(len(given))), true_labels=given, labels=classes)
    assert len(done.notes) == (note is not None)
    assert note is None or note in done.notes[0]


def test_names_in_another_unicode_form_are_the_same_classes(prepare: Prepare) -> None:
    nfc, nfd = (unicodedata.normalize(form, "Käse") for form in ("NFC", "NFD"))
    assert labels_of(prepare, [nfd, "Brot"], ("Brot", nfc)) == [1, 0]
    assert labels_of(prepare, [nfc, "Brot"], ("Brot", nfd)) == [1, 0]
    store = DatasetStore(prepare.root)
    with store.draft(SHAPE) as draft:
        images, values = draft.add_split("test", 2)
        images[:], values[:] = images_of([0, 1]), [0, 1]
        store.commit(draft, "food", ("Brot", nfd), "here")
    inputs = prepare("food:test", labels=("Brot", nfc)).inputs
    assert isinstance(inputs, ArrayInputs)
    assert inputs.labels == "datasets/food/1/test_labels.npy"
    prepare("food:test", labels=(nfc, "Brot"))
    assert prepare.array("labels.npy").tolist() == [1, 0]


# Ids


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        (["a", "b", "a"], "has the id 'a' twice, for images 0 and 2"),
        ([1, "1", 2], "has the id '1' twice, for images 0 and 1"),
        (["a", None, "b"], "has no id for image 1"),
        (["a", "b", float("nan")], "has no id for image 2"),
        (["a", "", "b"], "has no id for image 1"),
    ],
)
def test_ids_must_be_there_and_unique(prepare: Prepare, ids: list[Any], sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        prepare(images_of(range(3)), ids=ids)


def test_an_archive_gives_ids_as_well(prepare: Prepare, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=images_of(range(3)), ids=["x", "y", "z"])
    done = prepare(tmp_path / "a.npz")
    assert isinstance(done.inputs, ArrayInputs)
    assert done.inputs.ids == "jobs/job/inputs/ids.arrow"
    written = read_ids(prepare.draft.inputs / "ids.arrow", range(3)).to_pylist()
    assert written == ["x", "y", "z"]
    np.savez(tmp_path / "a.npz", images=images_of(range(3)), ids=[7, 8, 7])
    with pytest.raises(SourceError, match=r"a\.npz has the id '7' twice, for images 0 and 2"):
        prepare(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", images=images_of(range(3)), ids=[0.5, 1, 2])
    with pytest.raises(SourceError, match=r"ids in .* are float64"):
        prepare(tmp_path / "a.npz")


# Archives


@pytest.mark.parametrize(
    ("members", "expected", "unused"),
    [
        ({"X_test": [1, 2], "Y_test": [1, 0]}, [1, 0], None),
        ({"Images": [1, 2], "Labels": [1, 0]}, [1, 0], None),
        ({"images": [1, 2], "label": [1, 0]}, [1, 0], None),
        ({"images": [1, 2], "y": [1, 0], "extra": [1]}, [1, 0], "`extra` is not used."),
        (
            {"images": [1, 2], "targets": [1, 0]},
            None,
            "`targets` is not used; labels are read from",
        ),
    ],
)
def test_arrays_of_an_archive_are_found_in_any_case_and_what_is_not_used_is_said(
    prepare: Prepare, tmp_path: Path, members: Any, expected: list[int] | None, unused: str | None
) -> None:
    arrays: dict[str, Any] = {
        name: images_of(values) if name[0] in "XI" or name == "images" else np.array(values)
        for name, values in members.items()
    }
    np.savez(tmp_path / "a.npz", **arrays)
    done = prepare(tmp_path / "a.npz", labels=("0", "1"))
    assert (prepare.array("labels.npy").tolist() if expected else None) == expected
    assert [unused in note for note in done.notes] == [True] if unused else not done.notes


def test_an_archive_with_two_arrays_of_one_name_is_refused(
    prepare: Prepare, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", images=images_of([1]), labels=[0], Labels=[1])
    with pytest.raises(SourceError, match=r"a\.npz has labels and Labels: keep one"):
        prepare(tmp_path / "a.npz")


def test_python_objects_in_an_archive_matter_only_where_they_are_needed(
    prepare: Prepare, tmp_path: Path
) -> None:
    objects = np.array(["one"], object)
    np.savez(tmp_path / "a.npz", images=images_of([1]), meta=objects)
    assert prepare(tmp_path / "a.npz").total == 1
    np.savez(tmp_path / "a.npz", images=images_of([1]), labels=objects)
    with pytest.raises(SourceError, match=r"labels in .* are object: use whole numbers or text"):
        prepare(tmp_path / "a.npz")
