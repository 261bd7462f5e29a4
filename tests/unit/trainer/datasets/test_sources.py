"""Importing data sets: IDX, npz, CIFAR batches and folders of images."""

import gzip
import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.datasets.store import DataSet, DatasetStore
from storage.errors import AlreadyExists, BadName, StorageError
from tests.builders import encode
from trainer.datasets.cifar import read_cifar
from trainer.datasets.class_folders import SplitRule, find_classes, label_files
from trainer.datasets.downloads import Downloads
from trainer.datasets.idx import idx_md5, read_idx
from trainer.datasets.pickles import load_arrays
from trainer.datasets.sources import add_dataset, with_kind
from trainer.errors import SourceError

RANDOM = np.random.default_rng(7)
IMAGES = RANDOM.integers(0, 256, (12, 5, 4), np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 3


class House:
    """Stores below one root, and nothing that reaches the network."""

    def __init__(self, root: Path) -> None:
        self.store = DatasetStore(root / "storage")
        self.downloads = Downloads(root / "downloads", 1.0)

    def add(self, name: str, source: str | None, **options: Any) -> DataSet:
        return add_dataset(self.store, self.downloads, name, source, **options)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, *, zipped: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, rows in (("train", slice(0, 9)), ("t10k", slice(9, 12))):
        for content, array in (("images-idx3", IMAGES[rows]), ("labels-idx1", LABELS[rows])):
            data = idx_bytes(array)
            path = folder / f"{prefix}-{content}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(data) if zipped else data)
    return folder


def write_images(folder: Path, counts: dict[str, int], shape: tuple[int, ...] = (6, 5)) -> Path:
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = RANDOM.integers(0, 256, shape, np.uint8)
            (folder / name / f"{i:03d}.png").write_bytes(encode(pixels))
    return folder


# IDX


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files_become_a_data_set(house: House, tmp_path: Path, zipped: bool) -> None:
    folder = write_idx(tmp_path / "idx", zipped=zipped)
    dataset = house.add("small", f"idx:{folder}")
    assert dataset.description.classes == ("0", "1", "2")
    assert dataset.description.shape == (5, 4, 1)
    assert dataset.description.origin == f"idx:{folder}"
    np.testing.assert_array_equal(dataset.images("train")[..., 0], IMAGES[:9])
    np.testing.assert_array_equal(dataset.labels("test"), LABELS[9:])
    dataset.verify()


def test_the_digest_of_an_array_is_that_of_its_idx_file(tmp_path: Path) -> None:
    import hashlib

    assert idx_md5(IMAGES) == hashlib.md5(idx_bytes(IMAGES)).hexdigest()
    path = tmp_path / "x"
    path.write_bytes(idx_bytes(IMAGES))
    np.testing.assert_array_equal(read_idx(path, 3), IMAGES)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"",
        lambda data: b"\0\0\x0d" + data[3:],
        lambda data: data[:4] + b"\xff" * 12 + data[16:],
        lambda data: gzip.compress(data)[:-20],
        lambda data: b"\x1f\x8b nonsense",
    ],
    ids=["cut", "longer", "empty", "floats", "huge", "gzip cut", "no gzip"],
)
def test_a_damaged_idx_file_is_named(
    house: House, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = write_idx(tmp_path / "idx") / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SourceError, match=r"train-images-idx3-ubyte is no whole IDX file"):
        house.add("small", f"idx:{path.parent}")
    assert house.store.names() == []


def test_a_missing_idx_file_is_named(house: House, tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "idx")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(SourceError, match=r"no file t10k-labels-idx1-ubyte"):
        house.add("small", f"idx:{folder}")


def test_other_images_are_not_taken_for_mnist(house: House, tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "idx")
    with pytest.raises(SourceError, match="are not those of MNIST: add them under another name"):
        house.add("mnist", f"idx:{folder}")


def test_known_class_names_are_given_to_idx_files(house: House, tmp_path: Path) -> None:
    dataset = house.add("fashion-mnist", f"idx:{write_idx(tmp_path / 'idx')}")
    assert dataset.description.classes[9] == "Ankle boot"


# npz


def write_npz(path: Path, **changes: Any) -> Path:
    arrays: dict[str, Any] = {
        "x_train": IMAGES[:9],
        "y_train": LABELS[:9],
        "x_test": IMAGES[9:],
        "y_test": LABELS[9:],
    } | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def test_an_npz_file_becomes_a_data_set_with_its_class_names(house: House, tmp_path: Path) -> None:
    colour = RANDOM.integers(0, 256, (9, 5, 4, 3), np.uint8)
    classes = np.array(["ant", "bee", "cat"])
    changes = {"x_train": colour, "x_test": colour[:3], "y_train": LABELS[:9, None]}
    path = write_npz(tmp_path / "a.npz", **changes, classes=classes)
    about = house.add("pets", f"npz:{path}").description
    assert (about.shape, about.classes) == ((5, 4, 3), ("ant", "bee", "cat"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"y_test": None}, "no array 'y_test'"),
        ({"x_train": IMAGES[:9] / 255}, "are float64: raw pixels as uint8"),
        ({"y_train": LABELS[:9] / 2}, "labels of .* are float64"),
        ({"y_train": LABELS[:8]}, "9 train images and 8 labels"),
        ({"y_train": LABELS[:9].astype(int) - 1}, "labels of .* go from -1 to 1"),
        ({"classes": np.array(["a", "b"])}, "go from 0 to 2: they must be .* from 0 to 1"),
        ({"x_test": IMAGES[9:, :4]}, "differ in shape"),
        ({"x_train": IMAGES[:0], "y_train": LABELS[:0]}, "0 train images"),
        ({"x_train": IMAGES[:9, ..., None, None]}, "have the shape"),
        ({"x_train": np.array([object()])}, "cannot be read"),
        ({"y_train": LABELS[:9] * 0, "y_test": LABELS[9:] * 0}, "only one class"),
    ],
)
def test_odd_arrays_are_refused_with_what_is_odd(
    house: House, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    path = write_npz(tmp_path / "odd.npz", **changes)
    with pytest.raises(SourceError, match=sentence):
        house.add("odd", f"npz:{path}")
    assert house.store.names() == []


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut"])
def test_what_is_no_npz_file_is_named(house: House, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.npz"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"odd.npz cannot be read"):
        house.add("odd", f"npz:{path}")


# CIFAR


def cifar_files(rows: int = 4) -> dict[str, bytes]:
    def batch(seed: int) -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (rows, 3072), np.uint8)
        return pickle.dumps({"data": pixels, "labels": [i % 2 for i in range(rows)]}, protocol=2)

    meta = pickle.dumps({"label_names": ["cat", "dog"]}, protocol=2)
    return {
        "batches.meta": meta,
        "data_batch_1": batch(1),
        "data_batch_2": batch(2),
        "test_batch": batch(3),
    }


def write_cifar(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_cifar_batches_become_colour_images(house: House, tmp_path: Path) -> None:
    files = cifar_files()
    dataset = house.add("pets", f"cifar:{write_cifar(tmp_path / 'cifar', files)}")
    assert dataset.description.classes == ("cat", "dog")
    images = dataset.images("train")
    assert images.shape == (8, 32, 32, 3)
    row = pickle.loads(files["data_batch_2"])["data"][0]
    assert images[4, 0, 1].tolist() == [row[1], row[1024 + 1], row[2048 + 1]]


def test_the_archive_reads_like_the_folder(tmp_path: Path) -> None:
    folder = write_cifar(tmp_path / "cifar-10-batches-py", cifar_files())
    with tarfile.open(tmp_path / "cifar.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    one, other = read_cifar(folder, "here"), read_cifar(tmp_path / "cifar.tar.gz", "here")
    np.testing.assert_array_equal(one.train.images, other.train.images)
    np.testing.assert_array_equal(one.test.labels, other.test.labels)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"test_batch": None}, "has no CIFAR batches"),
        ({"data_batch_1": pickle.dumps({"data": np.zeros((4, 3072), np.uint8)})}, "entry 'labels'"),
        ({"data_batch_1": pickle.dumps([1, 2])}, "no entry 'data'"),
        ({"data_batch_1": pickle.dumps({"data": [[1]], "labels": [0]})}, "have the shape"),
        ({"data_batch_1": b"junk"}, "data_batch_1 of .* cannot be read as a pickle"),
    ],
)
def test_damaged_cifar_batches_are_named(
    house: House, tmp_path: Path, changes: dict[str, bytes | None], sentence: str
) -> None:
    files = {name: content for name, content in (cifar_files() | changes).items() if content}
    with pytest.raises(SourceError, match=sentence):
        house.add("pets", f"cifar:{write_cifar(tmp_path / 'cifar', files)}")


# Pickles


class Hostile:
    """Runs a command when it is unpickled by an unpickler that admits everything."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [np.arange(3), {"data": x}]])
def test_a_hostile_pickle_is_refused_before_it_runs_anything(
    tmp_path: Path, wrap: Callable[[Any], Any]
) -> None:
    trap = tmp_path / "trap"
    content = pickle.dumps(wrap(Hostile(trap)))
    pickle.loads(content)
    assert trap.exists()  # it bites
    trap.unlink()
    with pytest.raises(SourceError, match=r"is refused. A pickle asks for .*: only NumPy arrays"):
        load_arrays(content, "a stranger")
    assert not trap.exists()


@pytest.mark.parametrize("name", ["eval", "getattr", "exec", "__import__"])
def test_builtins_are_refused_too(name: str) -> None:
    content = b"cbuiltins\n" + name.encode() + b"\n."
    with pytest.raises(SourceError, match=f"asks for builtins.{name}"):
        load_arrays(content, "a stranger")


def test_arrays_of_any_pickle_protocol_are_admitted() -> None:
    for protocol in range(2, 5):
        content = pickle.dumps([IMAGES, LABELS], protocol=protocol)
        images, labels = load_arrays(content, "a friend")
        np.testing.assert_array_equal(images, IMAGES)
        np.testing.assert_array_equal(labels, LABELS)


# Folders of images


def test_a_folder_with_train_and_test_is_taken_as_it_is(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    write_images(folder / "train", {"cat": 3, "dog": 4})
    write_images(folder / "test", {"cat": 2})
    dataset = house.add("pets", f"folder:{folder}")
    about = dataset.description
    assert about.classes == ("cat", "dog")
    assert about.shape == (6, 5, 1)
    assert {name: split.count for name, split in about.splits.items()} == {"train": 7, "test": 2}
    assert sorted(dataset.labels("train").tolist()) == [0, 0, 0, 1, 1, 1, 1]
    assert about.origin == f"folder:{folder}"


def test_pixels_and_labels_stay_together(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "grey"
    for shade in (10, 200):
        (folder / str(shade)).mkdir(parents=True)
        for i in range(5):
            pixels = np.full((4, 4), shade + i, np.uint8)
            (folder / str(shade) / f"{i}.png").write_bytes(encode(pixels))
    dataset = house.add("grey", f"folder:{folder}")
    for split in ("train", "test"):
        bright = dataset.images(split).mean(axis=(1, 2, 3)) > 100
        np.testing.assert_array_equal(dataset.labels(split), bright.astype(int))


def test_without_test_folder_a_share_of_each_class_is_held_out_by_seed(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "pets", {"cat": 10, "dog": 20, "rare": 2})
    one, again, other = (
        label_files(find_classes(folder), folder, SplitRule(test_share=0.3, seed=seed)).splits
        for seed in (1, 1, 2)
    )
    assert one == again
    assert {path for path, _ in one["test"]} != {path for path, _ in other["test"]}
    counts = [sum(label == i for _, label in one["test"]) for i in range(3)]
    assert counts == [3, 6, 1]
    assert not {path for path, _ in one["test"]} & {path for path, _ in one["train"]}
    assert len(one["test"]) + len(one["train"]) == 32


def test_the_split_is_stated(house: House, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "pets", {"cat": 4, "dog": 4})
    dataset = house.add("pets", f"folder:{folder}", rule=SplitRule(test_share=0.25, seed=9))
    assert dataset.description.origin.endswith("(25% of each class held out for test, seed 9)")


def test_classes_that_are_numbers_are_in_order_of_their_value(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "numbers", {str(n): 2 for n in (10, 9, 0)})
    assert label_files(find_classes(folder), folder, SplitRule()).classes == ("0", "9", "10")


def test_images_are_not_in_order_of_class(house: House, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "pets", {"cat": 20, "dog": 20})
    labels = house.add("pets", f"folder:{folder}").labels("train").tolist()
    assert labels != sorted(labels)


def test_images_of_other_sizes_are_brought_to_the_most_frequent(
    house: House, tmp_path: Path
) -> None:
    folder = write_images(tmp_path / "pets", {"cat": 4, "dog": 4}, (8, 6, 3))
    (folder / "cat" / "large.png").write_bytes(encode(np.zeros((30, 20, 3), np.uint8)))
    assert house.add("pets", f"folder:{folder}").description.shape == (8, 6, 3)
    assert house.add("tiny", f"folder:{folder}", size=(3, 2)).description.shape == (3, 2, 3)


def test_one_colour_image_makes_all_colour(house: House, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "pets", {"cat": 4, "dog": 4})
    (folder / "cat" / "red.png").write_bytes(encode(np.zeros((6, 5, 3), np.uint8)))
    assert house.add("pets", f"folder:{folder}").description.shape == (6, 5, 3)


@pytest.mark.parametrize("content", [b"no image", b"", encode(IMAGES[0])[:-25]])
def test_an_unreadable_image_is_named_and_nothing_is_added(
    house: House, tmp_path: Path, content: bytes
) -> None:
    folder = write_images(tmp_path / "pets", {"cat": 4, "dog": 4})
    (folder / "dog" / "broken.png").write_bytes(content)
    with pytest.raises(
        SourceError,
        match=r"1 image of .*/pets cannot be used: dog/broken.png \(.*\): fix or remove it",
    ):
        house.add("pets", f"folder:{folder}", strict=True)
    assert house.store.names() == []
    assert list(house.store.folder.glob("*")) == [] if house.store.folder.exists() else True


def test_photographs_need_a_size(house: House, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "photos", {"cat": 2, "dog": 2}, (600, 40))
    with pytest.raises(SourceError, match=r"600 x 40 .H x W., too large.*--size 96"):
        house.add("photos", f"folder:{folder}")


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ({}, "pets has no subfolders: the images of each class go into one of its name"),
        ({"cat": 3}, "1 class, cat: it needs at least two, in a folder"),
        ({"cat": 3, "dog": 0}, r"has no images \(PNG, .*\) in dog: add some or remove that folder"),
        ({"cat": 3, "dog": 1}, "dog has only one image"),
        ({"train/cat": 3, "train/dog": 3}, "has a folder train but no folder test"),
        ({"train/cat": 3, "train/dog": 3, "test/cow": 1}, "no training images of cow"),
    ],
)
def test_a_folder_that_makes_no_data_set_is_refused(
    house: House, tmp_path: Path, counts: dict[str, int], sentence: str
) -> None:
    folder = tmp_path / "pets"
    folder.mkdir()
    write_images(folder, counts)
    with pytest.raises(SourceError, match=sentence):
        house.add("pets", f"folder:{folder}")


# Sources in general


@pytest.mark.parametrize("source", ["zip:x", "idx:", "folder", "", "/some/folder"])
def test_an_unknown_kind_of_source_is_refused_with_the_known_ones(
    house: House, source: str
) -> None:
    with pytest.raises(SourceError, match=r"write folder:DIR, list:FILE\.csv, npz:FILE, idx:DIR"):
        house.add("x", source)


@pytest.mark.parametrize("kind", ["idx", "npz", "folder", "cifar"])
def test_a_source_that_is_not_there_is_named(house: House, tmp_path: Path, kind: str) -> None:
    with pytest.raises(SourceError, match="nowhere"):
        house.add("x", f"{kind}:{tmp_path / 'nowhere'}")


def test_a_folder_a_table_and_an_archive_need_no_prefix(house: House, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "pets", {"cat": 4, "dog": 4})
    table = folder / "list.csv"
    paths = sorted(path.relative_to(folder) for path in folder.glob("*/*.png"))
    lines = [
        f"{path},{path.parts[0]},{'test' if i % 2 else 'train'}" for i, path in enumerate(paths)
    ]
    table.write_text("\n".join(["path,label,split", *lines]))
    assert house.add("pets", str(folder)).description.origin.startswith(f"folder:{folder} (")
    assert house.add("listed", str(table)).description.origin.startswith(f"list:{table}")
    archive = write_npz(tmp_path / "some.npz")
    assert house.add("some", str(archive)).description.origin == f"npz:{archive}"
    assert with_kind(f"idx:{folder}") == f"idx:{folder}"
    assert with_kind("job:first") == "job:first"


def test_a_name_that_nothing_is_known_of_needs_a_source(house: House) -> None:
    with pytest.raises(SourceError, match=r"'pets' is not known by name, as mnist,"):
        house.add("pets", None)


def test_a_bad_name_is_refused_first(house: House) -> None:
    with pytest.raises(BadName):
        house.add("../pets", "idx:nowhere")


def test_the_same_again_is_left_and_other_content_needs_replace(
    house: House, tmp_path: Path
) -> None:
    source = f"npz:{write_npz(tmp_path / 'a.npz')}"
    first = house.add("x", source)
    assert house.add("x", source).description == first.description
    other = f"npz:{write_npz(tmp_path / 'b.npz', x_test=255 - IMAGES[9:])}"
    with pytest.raises(AlreadyExists, match="--replace"):
        house.add("x", other)
    house.add("x", other, replace=True)
    assert house.store.get("x").description.sha256 != first.description.sha256


def test_every_refusal_is_one_sentence_in_an_error_of_ours(house: House, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, IMAGES)
    (tmp_path / "a.npz").write_bytes(buffer.getvalue())
    with pytest.raises((SourceError, StorageError)) as caught:
        house.add("x", f"npz:{tmp_path / 'a.npz'}")
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
