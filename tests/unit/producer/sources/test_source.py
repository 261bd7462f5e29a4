import hashlib
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from producer.errors import EmptySource, SourceError, UnknownLabel
from producer.sources.packing import SMALL_FILE_BYTES
from storage.datasets.store import DatasetStore
from storage.errors import BadManifest, NotFound
from storage.jobs.inputs import UNLABELLED, ArrayInputs, FileInputs, read_pack
from storage.jobs.job_inputs import pack_name
from tests.builders import LABELS, SHAPE, encode, images_of, save
from tests.sources import Prepare


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "storage"
    folder.mkdir()
    return folder


@pytest.fixture
def prepare(root: Path) -> Prepare:
    return Prepare(root)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    return folder


def put_images(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(images_of([number])[0]))


def add_dataset(root: Path, classes: tuple[str, ...], labels: list[int]) -> None:
    store = DatasetStore(root)
    with store.draft(SHAPE) as draft:
        images, values = draft.add_split("test", len(labels))
        images[:], values[:] = images_of(range(len(labels))), labels
        store.commit(draft, "digits", classes, "here")


# Data sets


def test_a_data_set_with_the_models_classes_is_referenced_with_its_labels(
    prepare: Prepare, root: Path
) -> None:
    add_dataset(root, LABELS, [0, 1, 2, 1])
    done = prepare("digits:test")
    assert isinstance(done.inputs, ArrayInputs)
    assert done.inputs.images == "datasets/digits/1/test_images.npy"
    assert done.inputs.labels == "datasets/digits/1/test_labels.npy"
    assert (done.total, done.labelled) == (4, 4)
    assert list(prepare.draft.inputs.iterdir()) == []


def test_a_data_set_with_other_classes_has_its_labels_mapped_to_the_models(
    prepare: Prepare, root: Path
) -> None:
    add_dataset(root, ("two", "zero"), [0, 1, 0])
    done = prepare("digits:test")
    assert isinstance(done.inputs, ArrayInputs)
    assert done.inputs.labels == "jobs/job/inputs/labels.npy"
    assert prepare.array("labels.npy").tolist() == [2, 0, 2]
    assert prepare.array("labels.npy").dtype == np.int32


def test_a_class_that_the_model_does_not_know_is_an_error_that_names_it(
    prepare: Prepare, root: Path
) -> None:
    add_dataset(root, ("zero", "seven"), [0, 1])
    with pytest.raises(UnknownLabel, match=r"digits@1 does not know \(seven\)"):
        prepare("digits:test")


def test_a_class_that_the_model_does_not_know_but_no_image_has_is_no_error(
    prepare: Prepare, root: Path
) -> None:
    add_dataset(root, ("zero", "seven"), [0, 0])
    assert prepare("digits:test").labelled == 2


def test_an_unknown_data_set_and_an_unknown_split_are_errors(prepare: Prepare, root: Path) -> None:
    add_dataset(root, LABELS, [0])
    with pytest.raises(NotFound, match="no data set 'letters'"):
        prepare("letters:test")
    with pytest.raises(NotFound, match="no split 'validation', only test"):
        prepare("digits:validation")


def test_a_limit_takes_the_first_images_and_changes_the_fingerprint(
    prepare: Prepare, root: Path
) -> None:
    add_dataset(root, LABELS, [0, 1, 2, 1])
    whole, part = prepare("digits:test"), prepare("digits:test", limit=3)
    assert (part.total, part.labelled) == (3, 3)
    assert part.fingerprint != whole.fingerprint
    assert prepare("digits:test", limit=9).fingerprint == whole.fingerprint


# Arrays


def test_an_array_below_the_storage_root_is_referenced(prepare: Prepare, root: Path) -> None:
    np.save(root / "a.npy", images_of([1, 2]))
    done = prepare(root / "a.npy")
    stat = (root / "a.npy").stat()
    assert done.inputs == ArrayInputs(images="a.npy", size=stat.st_size, mtime_ns=stat.st_mtime_ns)
    assert list(prepare.draft.inputs.iterdir()) == []


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (5, 3, 3)])
def test_an_array_elsewhere_is_copied_bit_for_bit(
    prepare: Prepare, outside: Path, shape: tuple[int, ...]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, *shape), dtype=np.uint8)
    np.save(outside / "a.npy", images)
    done = prepare(outside / "a.npy", limit=40)
    assert isinstance(done.inputs, ArrayInputs)
    assert done.inputs.images == "jobs/job/inputs/images.npy"
    np.testing.assert_array_equal(prepare.array("images.npy"), images[:40])
    assert done.inputs.size == (prepare.draft.inputs / "images.npy").stat().st_size


def test_the_fingerprint_of_a_copied_array_follows_its_pixels_not_its_name(
    prepare: Prepare, outside: Path
) -> None:
    np.save(outside / "a.npy", images_of([1, 2]))
    np.save(outside / "b.npy", images_of([1, 2]))
    np.save(outside / "c.npy", images_of([1, 3]))
    a, b, c = (prepare(outside / f"{name}.npy").fingerprint for name in "abc")
    assert a == b != c


def test_an_array_that_is_not_uint8_is_an_error_that_says_how_to_convert_it(
    prepare: Prepare, outside: Path
) -> None:
    np.save(outside / "a.npy", images_of([1]).astype(np.float32))
    with pytest.raises(SourceError, match=r"a\.npy holds float32: .*astype\('uint8'\)"):
        prepare(outside / "a.npy")


@pytest.mark.parametrize("shape", [(), (16,), (4, 4), (1, 2, 3, 4, 5)])
def test_an_array_that_holds_no_images_is_an_error_that_names_its_shape(
    prepare: Prepare, outside: Path, shape: tuple[int, ...]
) -> None:
    np.save(outside / "a.npy", np.zeros(shape, np.uint8))
    with pytest.raises(SourceError, match="has the shape"):
        prepare(outside / "a.npy")


def test_an_empty_array_is_an_error(prepare: Prepare, outside: Path) -> None:
    np.save(outside / "a.npy", images_of([]))
    with pytest.raises(EmptySource, match="holds no images"):
        prepare(outside / "a.npy")


def test_arrays_that_are_none_are_errors(prepare: Prepare, outside: Path) -> None:
    (outside / "text.npy").write_text("hello")
    np.save(outside / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(outside / "columns.npy", np.asfortranarray(np.zeros((3, 4, 5), np.uint8)))
    np.save(outside / "short.npy", images_of([1, 2]))
    os.truncate(outside / "short.npy", 140)
    for name in ("text", "columns", "short"):
        with pytest.raises(SourceError, match=rf"{name}\.npy is not a readable \.npy array"):
            prepare(outside / f"{name}.npy")
    with pytest.raises(SourceError, match=r"objects\.npy holds Python objects: .*np\.stack"):
        prepare(outside / "objects.npy")


# Archives of arrays


def test_an_archive_gives_its_images_and_labels(prepare: Prepare, outside: Path) -> None:
    images = images_of([5, 6, 7])
    np.savez_compressed(outside / "a.npz", images=images, labels=[2, 0, 1], other=[1.5])
    done = prepare(outside / "a.npz")
    assert isinstance(done.inputs, ArrayInputs)
    assert (done.total, done.labelled) == (3, 3)
    np.testing.assert_array_equal(prepare.array("images.npy"), images)
    assert prepare.array("labels.npy").tolist() == [2, 0, 1]
    assert done.inputs.labels == "jobs/job/inputs/labels.npy"


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"x": [1], "y": [2]}, [2]),
        ({"x_test": [1], "y_test": [1], "y_train": [0]}, [1]),
        ({"x": [1], "labels": ["two"]}, [2]),
        ({"x": [1, 2, 3], "y": ["two", "", "zero"]}, [2, UNLABELLED, 0]),
        ({"x": [1, 2], "y": [-1, 1]}, [UNLABELLED, 1]),
    ],
)
def test_labels_are_found_by_name_and_may_be_indices_or_names(
    prepare: Prepare, outside: Path, members: dict[str, Any], expected: list[int]
) -> None:
    arrays: dict[str, Any] = {
        k: images_of(v) if k[0] == "x" else np.array(v) for k, v in members.items()
    }
    np.savez(outside / "a.npz", **arrays)
    done = prepare(outside / "a.npz")
    assert prepare.array("labels.npy").tolist() == expected
    assert done.labelled == sum(label != UNLABELLED for label in expected)


def test_numbers_that_are_all_names_of_labels_are_taken_as_names(
    prepare: Prepare, outside: Path
) -> None:
    np.savez(outside / "a.npz", images=images_of([1, 2]), labels=[3, 1])
    prepare(outside / "a.npz", labels=("1", "2", "3"))
    assert prepare.array("labels.npy").tolist() == [2, 0]


@pytest.mark.parametrize("labels", [[0, 3], ["zero", "seven"]])
def test_a_label_in_an_archive_that_the_model_does_not_know_is_an_error(
    prepare: Prepare, outside: Path, labels: list[Any]
) -> None:
    np.savez(outside / "a.npz", images=images_of([1, 2]), labels=labels)
    with pytest.raises(UnknownLabel, match=r"does not know \(.*(3|seven)\)"):
        prepare(outside / "a.npz")


def test_an_archive_with_several_arrays_of_images_asks_which(
    prepare: Prepare, outside: Path
) -> None:
    np.savez(outside / "a.npz", x_test=images_of([1]), x_train=images_of([2]))
    with pytest.raises(
        SourceError, match="x_test, x_train: name the one to be classified `images`"
    ):
        prepare(outside / "a.npz")


def test_archives_that_cannot_be_used_are_errors(prepare: Prepare, outside: Path) -> None:
    (outside / "text.npz").write_text("hello")
    np.savez(outside / "counts.npz", images=images_of([1, 2]), labels=[0])
    np.savez(outside / "halves.npz", images=images_of([1]), labels=[0.5])
    for name, sentence in [
        ("text", "not a readable .npz"),
        ("counts", "2 images, but labels of the shape"),
        ("halves", "use whole numbers or text"),
    ]:
        with pytest.raises(SourceError, match=sentence):
            prepare(outside / f"{name}.npz")


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_an_array_is_copied_without_holding_it_in_memory(
    prepare: Prepare, outside: Path, suffix: str
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4_000, 100, 100), dtype=np.uint8)
    np.save(outside / "a.npy", images)
    np.savez(outside / "a.npz", images=images)
    tracemalloc.start()
    prepare(outside / f"a.{suffix}")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < images.nbytes / 2
    np.testing.assert_array_equal(prepare.array("images.npy"), images)


# Folders


def test_a_folder_is_listed_in_the_same_order_whatever_the_file_system_does(
    prepare: Prepare, outside: Path
) -> None:
    put_images(outside, "b/2.png", "a/10.png", "c.png", "a/9.jpg", "a/d/1.PNG", ".hidden.png")
    (outside / "notes.txt").write_text("no image")
    done = prepare(outside)
    ids = [image.id for image in prepare.packed()]
    assert ids == ["a/10.png", "a/9.jpg", "a/d/1.PNG", "b/2.png", "c.png"]
    assert [image.path for image in prepare.packed()] == [str(outside / name) for name in ids]
    assert (done.total, done.labelled) == (5, 0)
    assert isinstance(done.inputs, FileInputs)


def test_subfolders_named_like_the_models_labels_become_labels(
    prepare: Prepare, outside: Path
) -> None:
    put_images(outside, "two/a.png", "zero/b.png", "zero/deep/c.png", "loose.png")
    (outside / "empty").mkdir()
    done = prepare(outside)
    labels = {image.id: image.label for image in prepare.packed()}
    expected = {"two/a.png": 2, "zero/b.png": 0, "zero/deep/c.png": 0, "loose.png": UNLABELLED}
    assert labels == expected
    assert done.labelled == 3
    assert list(done.notes) == [
        f"1 of the 4 images of {outside} is taken as unlabelled: it lies in no subfolder."
    ]


def test_subfolders_that_are_no_labels_are_named_and_the_others_keep_theirs(
    prepare: Prepare, outside: Path
) -> None:
    put_images(outside, "zero/a.png", "zero/b.png", "seven/c.png", "eight/d.png")
    done = prepare(outside)
    assert [image.label for image in prepare.packed()] == [UNLABELLED, UNLABELLED, 0, 0]
    assert done.labelled == 2
    assert list(done.notes) == [
        f"2 of the 4 images of {outside} are taken as unlabelled: their subfolders (eight, seven) "
        "are not the labels of digits@1 (zero, one, two)."
    ]


@pytest.mark.parametrize(
    ("names", "chosen", "labels"),
    [
        (("train/zero/a.png", "test/one/b.png"), "test", ", labelled by its subfolders"),
        (("Training/zero/a.png", "val/one/b.png"), "val", ", labelled by its subfolders"),
        (("train/a.png", "test/b.png", "monday/c.png"), "test", ""),
        (("train/a.png",), "train", ""),
    ],
)
def test_a_folder_of_splits_is_taken_whole_and_the_one_to_submit_is_named(
    prepare: Prepare, outside: Path, names: tuple[str, ...], chosen: str, labels: str
) -> None:
    put_images(outside, *names)
    done = prepare(outside)
    (note,) = done.notes
    submit = f"submit {outside}/{chosen} to have the images of that one alone{labels}."
    assert note.endswith(f"digits@1 (zero, one, two); {submit}")
    assert (done.total, done.labelled) == (len(names), 0)
    alone = prepare(outside / chosen)
    assert (alone.total, alone.labelled) == (1, 1 if labels else 0)


def test_a_split_that_is_a_label_is_one(prepare: Prepare, outside: Path) -> None:
    put_images(outside, "train/a.png", "ship/b.png")
    done = prepare(outside, labels=("train", "ship"))
    assert (done.labelled, list(done.notes)) == (2, [])


def test_a_single_image_without_a_label_is_spoken_of_in_the_singular(
    prepare: Prepare, outside: Path
) -> None:
    put_images(outside, "zero/a.png", "zero/b.png", "seven/c.png")
    assert list(prepare(outside).notes) == [
        f"1 of the 3 images of {outside} is taken as unlabelled: its subfolder (seven) is not a "
        "label of digits@1 (zero, one, two)."
    ]


def test_images_of_subfolders_that_are_all_no_labels_are_unlabelled(
    prepare: Prepare, outside: Path
) -> None:
    put_images(outside, "monday/a.png", "loose.png")
    done = prepare(outside)
    assert done.labelled == 0
    assert len(done.notes) == 1
    assert "(monday) is not a label of digits@1 (zero, one, two)" in done.notes[0]


def test_where_no_image_has_a_label_none_is_told_to_have_one(
    prepare: Prepare, outside: Path
) -> None:
    put_images(outside, "monday/a.png", "tuesday/b.png")
    assert list(prepare(outside).notes) == [
        f"None of the 2 images of {outside} has a label: their subfolders (monday, tuesday) are "
        "not the labels of digits@1 (zero, one, two)."
    ]


@pytest.mark.parametrize("sources", [("",), ("a.png", "")])
def test_an_empty_name_is_not_the_working_folder(
    prepare: Prepare, sources: tuple[str, ...]
) -> None:
    with pytest.raises(SourceError, match="One of the names to submit is empty"):
        prepare(*sources)


@pytest.mark.parametrize("name", ["K\u00e4se", "Ka\u0308se", " K\u00e4se "])
@pytest.mark.parametrize("label", ["K\u00e4se", "Ka\u0308se"])
def test_a_subfolder_is_a_label_however_its_name_is_encoded(
    prepare: Prepare, outside: Path, name: str, label: str
) -> None:
    put_images(outside, f"{name}/a.png")
    done = prepare(outside, labels=("zero", label))
    assert (prepare.packed()[0].label, done.labelled, list(done.notes)) == (1, 1, [])


def test_what_a_folder_holds_beside_images_is_counted_and_told(
    prepare: Prepare, outside: Path
) -> None:
    put_images(outside, "a.png", "b.jfif", "._a.png", "c.jxl", "d.jxl", "__MACOSX/a.png")
    done = prepare(outside)
    assert done.total == 2
    assert done.passed_over == {".jxl": 2, "hidden_files": 1, "program_folders": 1}
    assert list(done.notes) == [
        "Passed over: 2 .jxl (no supported format), 1 hidden file, 1 folder of another program; "
        "--strict has each image of such a format be an error."
    ]


def test_that_only_the_first_of_several_pages_is_taken_is_told_once(
    prepare: Prepare, outside: Path
) -> None:
    put_images(outside, "a.png", "b.png")
    assert list(prepare(outside).notes) == []
    pages = [Image.fromarray(image) for image in images_of([1, 2], (90, 90, 3))]
    several = {"save_all": True, "append_images": pages[1:]}
    (outside / "c.tif").write_bytes(save(pages[0], "TIFF", **several))
    one = prepare(outside)
    assert list(one.notes) == ["1 image has several pages or frames: the first is taken."]
    (outside / "d.jpg").write_bytes(save(pages[0], "GIF", **several))
    two = ["2 images have several pages or frames: the first of each is taken."]
    assert list(prepare(outside).notes) == two
    lines = "".join(f"{outside / name}\n" for name in ("a.png", "c.tif", "d.jpg"))
    (outside / "list.csv").write_text(f"path\n{lines}")
    assert list(prepare(outside / "list.csv").notes) == two
    assert list(prepare(*(outside / name for name in ("c.tif", "d.jpg"))).notes) == two


def test_images_of_other_formats_are_taken_when_that_is_asked_for(
    prepare: Prepare, outside: Path
) -> None:
    put_images(outside, "a.png", "c.JXL", ".b.jxl")
    (outside / "d.tga").symlink_to(outside / "a.png")
    (outside / "e.txt").write_text("no image")
    done = prepare(outside, strict=True)
    assert done.total == 3
    assert done.passed_over == {"hidden_files": 1, "other_files": 1}


def test_images_without_a_suffix_are_taken_by_content_when_that_is_asked_for(
    prepare: Prepare, outside: Path
) -> None:
    put_images(outside, "a.png", "5f0c1a")
    (outside / "drawing").write_bytes(b"8BPS\0\1 a drawing of Photoshop")
    (outside / "linked").symlink_to(outside / "5f0c1a")
    (outside / "README").write_text("no image")
    (outside / "empty").touch()
    assert prepare(outside).passed_over == {"other_files": 5}
    done = prepare(outside, strict=True)
    assert [image.id for image in prepare.packed()] == ["5f0c1a", "a.png", "drawing", "linked"]
    assert done.passed_over == {"other_files": 2}


def test_a_folder_whose_images_are_all_passed_over_says_so(prepare: Prepare, outside: Path) -> None:
    put_images(outside, "a.psd", "b.psd")
    (outside / "red").symlink_to(outside.parent)
    with pytest.raises(
        EmptySource,
        match=r"holds no images: .* Passed over: 2 \.psd \(no supported format\), 1 link to a "
        "folder; --follow-links takes linked folders too",
    ):
        prepare(outside)


def test_linked_folders_and_files_are_taken_when_that_is_asked_for(
    prepare: Prepare, outside: Path
) -> None:
    put_images(outside, "pool/zero/a.png", "pool/b.png", "d/one/c.png")
    (outside / "d" / "zero").symlink_to(outside / "pool" / "zero")
    (outside / "d" / "one" / "b.png").symlink_to(outside / "pool" / "b.png")
    careful = prepare(outside / "d")
    assert careful.passed_over == {"linked_folders": 1}
    assert [image.id for image in prepare.packed() if image.refused] == ["one/b.png"]
    done = prepare(outside / "d", follow_links=True)
    found = [(image.id, image.label, image.refused) for image in prepare.packed()]
    assert found == [("one/b.png", 1, None), ("one/c.png", 1, None), ("zero/a.png", 0, None)]
    assert (done.labelled, done.passed_over) == (3, {})


@pytest.mark.parametrize("follow_links", [False, True])
def test_what_a_link_leads_to_is_copied_when_it_lies_outside(
    prepare: Prepare, root: Path, outside: Path, follow_links: bool
) -> None:
    large = bytes(2 * SMALL_FILE_BYTES)
    (root / "uploads").mkdir()
    for name, target in (("a.png", root / "uploads" / "z.png"), ("b.png", outside / "y.png")):
        target.write_bytes(large)
        (root / "uploads" / name).symlink_to(target)
    prepare(root / "uploads", follow_links=follow_links)
    inside, elsewhere, plain = prepare.packed()
    assert (inside.stored, plain.stored) == ("uploads/a.png", "uploads/z.png")
    assert elsewhere.stored is None
    assert elsewhere.content == (large if follow_links else None)


def test_a_folder_below_it_that_cannot_be_read_is_named(
    prepare: Prepare, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_images(outside, "a/1.png", "b/2.png")
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)  # root, who runs some tests, may read everything
    with pytest.raises(SourceError, match=r"The folder .*/b cannot be read \(Permission denied\)"):
        prepare(outside)


def test_an_empty_folder_is_an_error(prepare: Prepare, outside: Path) -> None:
    with pytest.raises(EmptySource, match="holds no images: there is nothing to classify"):
        prepare(outside)


def test_a_link_out_of_the_folder_is_refused_as_a_record(prepare: Prepare, outside: Path) -> None:
    put_images(outside, "pictures/a.png", "secret.png")
    (outside / "pictures" / "b.png").symlink_to(outside / "secret.png")
    (outside / "pictures" / "c.png").symlink_to(outside / "pictures" / "a.png")
    (outside / "pictures" / "loop").symlink_to(outside)
    prepare(outside / "pictures")
    a, b, c = prepare.packed()
    assert a.content == c.content == (outside / "pictures" / "a.png").read_bytes()
    assert b.content is None
    assert b.refused == "a symbolic link that leads out of the folder: --follow-links takes it"


def test_a_name_that_is_not_utf8_is_shown_readably_and_still_read(
    prepare: Prepare, outside: Path
) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    put_images(outside, name)
    prepare(outside)
    image = prepare.packed()[0]
    assert image.id == r"caf\xe9.png"  # unlike that of another such name
    assert image.content == (outside / name).read_bytes()


def test_folders_whose_names_are_not_utf8_are_told_readably(
    prepare: Prepare, outside: Path
) -> None:
    folder = outside / os.fsdecode(b"caf\xe9")
    put_images(folder, os.fsdecode(b"th\xe9/a.png"))
    (note,) = prepare(folder).notes
    assert r"caf\xe9 is taken" in note
    assert r"(th\xe9) is not a label" in note


def test_image_files_have_their_digest_and_content(prepare: Prepare, outside: Path) -> None:
    put_images(outside, "a.png")
    prepare(outside)
    image = prepare.packed()[0]
    content = (outside / "a.png").read_bytes()
    assert (image.content, image.stored) == (content, None)
    assert image.sha256 == hashlib.sha256(content).digest()


@pytest.mark.parametrize("more", [0, 1])
def test_large_files_below_the_storage_root_are_referenced_and_small_ones_packed(
    prepare: Prepare, root: Path, more: int
) -> None:
    path = root / "uploads/x/a.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(SMALL_FILE_BYTES + more))
    prepare(root / "uploads")
    image = prepare.packed()[0]
    assert image.stored == ("uploads/x/a.png" if more else None)
    assert image.content == (None if more else path.read_bytes())
    assert image.read(root, max_bytes=100_000) == path.read_bytes()


@pytest.mark.parametrize(
    ("name", "head", "is_read"),
    [
        ("a.jpg", b"\xff\xd8\xff", False),
        ("a.png", b"\x89PNG", False),
        ("a.gif", b"GIF89a", True),
        ("a.tif", b"II*\0", True),
    ],
)
def test_a_large_file_on_storage_is_read_only_where_it_may_hold_several_pictures(
    prepare: Prepare, root: Path, name: str, head: bytes, is_read: bool
) -> None:
    size = 10_000_000
    path = root / "uploads" / name
    path.parent.mkdir()
    path.write_bytes(head.ljust(size, b"\0"))
    before = bytes_read()
    prepare(root / "uploads", max_image_bytes=size)
    assert (bytes_read() - before >= size) == is_read
    assert prepare.packed()[0].stored == f"uploads/{name}"


def bytes_read() -> int:
    """How many this process has read in its life."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_a_large_file_elsewhere_is_packed_whole(prepare: Prepare, outside: Path) -> None:
    content = np.random.default_rng(1).bytes(3 * SMALL_FILE_BYTES)
    (outside / "a.png").write_bytes(content)
    prepare(outside)
    image = prepare.packed()[0]
    assert (image.content, image.stored) == (content, None)
    assert image.sha256 == hashlib.sha256(content).digest()


@pytest.mark.parametrize("size", [2000, 2 * SMALL_FILE_BYTES])
def test_a_file_over_the_limit_is_kept_with_its_reason_and_not_its_content(
    prepare: Prepare, outside: Path, size: int
) -> None:
    put_images(outside, "a.png")
    (outside / "b.png").write_bytes(b"x" * size)
    assert prepare(outside, max_image_bytes=size - 1).total == 2
    _, large = prepare.packed()
    assert (large.content, large.refused) == (
        None,
        f"file too large: the limit is {size - 1} bytes (BATCHSIGHT_MAX_IMAGE_BYTES)",
    )
    prepare(outside, max_image_bytes=size)
    assert prepare.packed()[1].refused is None


def test_the_fingerprint_of_files_follows_content_labels_and_order(
    prepare: Prepare, outside: Path
) -> None:
    put_images(outside, "a.png", "b.png")
    first = prepare(outside).fingerprint
    assert prepare(outside).fingerprint == first
    assert prepare(outside, batch_size=1).fingerprint == first
    assert prepare(outside / "b.png", outside / "a.png").fingerprint != first
    (outside / "b.png").write_bytes(encode(images_of([77])[0]))
    assert prepare(outside).fingerprint != first


# Files named one by one


def test_files_are_taken_in_the_order_given(prepare: Prepare, outside: Path) -> None:
    put_images(outside, "a.png", "b.png")
    prepare(outside / "b.png", outside / "a.png")
    assert [image.id for image in prepare.packed()] == [
        str(outside / "b.png"),
        str(outside / "a.png"),
    ]


def test_a_file_that_is_not_there_is_an_error_that_names_it(
    prepare: Prepare, outside: Path
) -> None:
    put_images(outside, "a.png")
    with pytest.raises(SourceError, match=r"There is no file .*nothing\.png"):
        prepare(outside / "a.png", outside / "nothing.png")
    with pytest.raises(SourceError, match="is a folder: submit it alone"):
        prepare(outside / "a.png", outside)


@pytest.mark.parametrize("name", ["a.tif", "a.JFIF", "photograph", "a.jpg.part"])
def test_a_file_that_is_named_is_judged_by_its_content(
    prepare: Prepare, outside: Path, name: str
) -> None:
    put_images(outside, name)
    assert prepare(outside / name).total == 1
    assert prepare.packed()[0].content == (outside / name).read_bytes()


def test_a_pipe_that_is_named_is_not_waited_for(prepare: Prepare, outside: Path) -> None:
    for name in ("pipe", "pipe.png"):
        os.mkfifo(outside / name)
        with pytest.raises(SourceError, match=f"{name} is no source"):
            prepare(outside / name)


def test_what_is_no_source_is_an_error_that_lists_the_kinds(
    prepare: Prepare, outside: Path
) -> None:
    (outside / "a.txt").write_text("hello")
    with pytest.raises(SourceError, match="is no source: give a data set and split"):
        prepare(outside / "a.txt")
    with pytest.raises(SourceError, match="There is no file or folder nothing"):
        prepare("nothing")


# Manifests


def manifest(folder: Path, name: str, text: str) -> Path:
    put_images(folder, "p/a.png", "p/b.png")
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_manifest_names_images_labels_and_ids(prepare: Prepare, outside: Path) -> None:
    text = "id,label,path,note\nfirst,two,p/b.png,x\n,,p/a.png,\n"
    done = prepare(manifest(outside, "m.csv", text))
    first, second = prepare.packed()
    assert (first.id, first.path, first.label) == ("first", "p/b.png", 2)
    assert first.content == (outside / "p/b.png").read_bytes()
    assert (second.id, second.path, second.label) == ("p/a.png", "p/a.png", UNLABELLED)
    assert (done.total, done.labelled) == (2, 1)


def test_a_jsonl_manifest_names_images_labels_and_ids(prepare: Prepare, outside: Path) -> None:
    lines = [{"path": "p/a.png", "label": 7, "id": 12}, {"path": "p/b.png"}]
    text = "\n\n".join(json.dumps(line) for line in lines)
    prepare(manifest(outside, "m.jsonl", text), labels=("6", "7"))
    first, second = prepare.packed()
    assert (first.id, first.label, second.label) == ("12", 1, UNLABELLED)


def test_a_manifest_as_spreadsheets_save_it_is_read(prepare: Prepare, outside: Path) -> None:
    path = manifest(outside, "m.csv", "\ufeffpath,label\r\np/a.png,one\r\n")
    assert prepare(path).labelled == 1


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("m.csv", "photo,label\np/a.png,one\n", "has no column `path`"),
        ("m.csv", "path,label\np/a.png,one\n,two\n", r"Line 3 of .*m\.csv has no path"),
        ("m.csv", "path\np/a.png\np/z.png\n", r"Line 3 of .* names 'p/z\.png', but there is no"),
        ("m.csv", "path\np\n", "Line 2 of .* names 'p', a folder: name its images"),
        ("m.csv", "path\n../m.csv\n", "paths must lead to files inside the manifest's folder"),
        ("m.csv", "path\n/etc/passwd\n", "paths must lead to files inside the manifest's folder"),
        ("m.jsonl", '{"path": "p/a.png"}\n{"label": "one"}\n', "Line 2 of .* has no path"),
        ("m.jsonl", '{"path": "p/a.png"}\nnonsense\n', "Line 2 of .* is not a JSON object"),
        ("m.jsonl", '["p/a.png"]\n', "Line 1 of .* is not a JSON object"),
        ("m.jsonl", '{"path": ["p/a.png"]}\n', "`path` that is neither text nor a whole number"),
    ],
)
def test_a_line_of_a_manifest_that_cannot_be_used_is_an_error_that_names_it(
    prepare: Prepare, outside: Path, name: str, text: str, sentence: str
) -> None:
    with pytest.raises(BadManifest, match=sentence):
        prepare(manifest(outside, name, text))


def test_a_label_in_a_manifest_that_the_model_does_not_know_names_the_line(
    prepare: Prepare, outside: Path
) -> None:
    path = manifest(outside, "m.csv", "path,label\np/a.png,one\np/b.png,seven\n")
    sentence = r"Line 3 of .* has the label 'seven', which digits@1 does not know: .*zero, one, two"
    with pytest.raises(UnknownLabel, match=sentence):
        prepare(path)


def test_a_manifest_that_is_not_text_or_has_no_lines_is_an_error(
    prepare: Prepare, outside: Path
) -> None:
    (outside / "bytes.csv").write_bytes(b"path\n\xff\xfe\n")
    (outside / "empty.csv").write_text("path\n")
    with pytest.raises(BadManifest, match="is not UTF-8 text"):
        prepare(outside / "bytes.csv")
    with pytest.raises(EmptySource, match="holds no images"):
        prepare(outside / "empty.csv")


def test_a_manifest_is_read_no_further_than_its_limit(prepare: Prepare, outside: Path) -> None:
    path = manifest(outside, "m.csv", "path\np/a.png\np/nothing.png\n")
    assert prepare(path, limit=1).total == 1


# Batches


@pytest.mark.parametrize(
    ("total", "expected"), [(1, 16), (100, 16), (10_000, 1_000), (60_000, 5_000)]
)
def test_a_small_job_is_cut_into_about_ten_batches_a_large_one_into_full_ones(
    prepare: Prepare, root: Path, total: int, expected: int
) -> None:
    np.save(root / "a.npy", np.zeros((total, 1, 1), np.uint8))
    assert prepare(root / "a.npy").batch_size == expected
    assert prepare(root / "a.npy", batch_size=7).batch_size == 7


def test_files_are_packed_batch_by_batch(prepare: Prepare, outside: Path) -> None:
    put_images(outside, *(f"{i:02d}.png" for i in range(10)))
    done = prepare(outside, batch_size=4)
    assert (done.batch_size, done.total) == (4, 10)
    assert [len(read_pack(prepare.draft.inputs / pack_name(b))) for b in range(3)] == [4, 4, 2]
    assert [image.id for image in prepare.packed(3)] == [f"{i:02d}.png" for i in range(10)]


def test_large_files_make_short_batches(prepare: Prepare, outside: Path) -> None:
    for i in range(40):
        with (outside / f"{i}.png").open("wb") as file:
            file.truncate(10_000_000)
    assert prepare(outside, max_image_bytes=1000).batch_size == 6
