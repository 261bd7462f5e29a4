"""Data sets of the image files that a table names."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from storage.datasets.store import DataSet, DatasetStore
from storage.errors import BadManifest
from storage.jobs.store import JobStore
from storage.settings import StorageSettings
from tests.builders import encode
from trainer.datasets.appending import append_images
from trainer.datasets.downloads import Downloads
from trainer.datasets.new_images import NewImages
from trainer.datasets.sources import add_dataset
from trainer.errors import SourceError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve images, each of the shade that its name says."""
    (tmp_path / "d" / "deep").mkdir(parents=True)
    for shade in range(12):
        pixels = np.full((4, 4), shade, np.uint8)
        place = tmp_path / "d" / ("deep" if shade > 5 else "")
        (place / f"{shade}.png").write_bytes(encode(pixels))
    return tmp_path / "d"


def path_of(shade: int) -> str:
    return f"deep/{shade}.png" if shade > 5 else f"{shade}.png"


def add(folder: Path, text: str, name: str = "list.csv", *, encoding: str = "utf-8") -> DataSet:
    (folder / name).write_text(text, encoding)
    root = folder.parent
    store, downloads = DatasetStore(root / "storage"), Downloads(root / "downloads", 1.0)
    return add_dataset(store, downloads, "pets", f"list:{folder / name}")


def classes_of(dataset: DataSet, split: str) -> Mapping[int, str]:
    """The class of each image, by its shade."""
    names = dataset.description.classes
    images, labels = dataset.images(split), dataset.labels(split)
    return {int(image[0, 0, 0]): names[i] for image, i in zip(images, labels, strict=True)}


def test_a_table_with_splits_says_what_is_for_test(folder: Path) -> None:
    splits = ["train", "Train", "testing", "val"]
    lines = [f"{path_of(i)};{'cat' if i % 2 else 'dog'};{splits[i % 4]}" for i in range(12)]
    dataset = add(folder, "\r\n".join(["file;class;split", *lines]), encoding="utf-16")
    train, test = classes_of(dataset, "train"), classes_of(dataset, "test")
    assert sorted(test) == [2, 6, 10]
    assert sorted(train) == [0, 1, 3, 4, 5, 7, 8, 9, 11]
    assert all(label == ("cat" if i % 2 else "dog") for i, label in {**train, **test}.items())
    assert dataset.description.origin == f"list:{folder / 'list.csv'}"


def test_without_splits_a_share_of_each_class_is_held_out(folder: Path) -> None:
    lines = [f'{{"path": "{path_of(i)}", "label": {i % 2}}}' for i in range(12)]
    dataset = add(folder, "\n".join(lines), "list.jsonl")
    train, test = classes_of(dataset, "train"), classes_of(dataset, "test")
    assert sorted(test.values()) == ["0", "1"]
    assert sorted([*train, *test]) == list(range(12))


def test_images_of_a_table_that_cannot_be_read_are_named_and_left_out(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trainer")
    (folder / "3.png").write_bytes(b"hello")
    lines = [f"{path_of(i)},{'cat' if i % 2 else 'dog'}" for i in range(12)]
    dataset = add(folder, "\n".join(["path,label", *lines]))
    assert 3 not in {**classes_of(dataset, "train"), **classes_of(dataset, "test")}
    assert "Left out, where --strict would refuse: 1 image of " in caplog.text
    assert "3.png (not an image" in caplog.text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path\n0.png\n", "has no column `label`"),
        ("path,label\n0.png,\n", "Line 2 of .* has no label"),
        ("path,label\n,cat\n", "Line 2 of .* has no path"),
        ("path,label\nno.png,cat\n", "Line 2 of .* names 'no.png', but there is no such file"),
        ("path,label\n../x.png,cat\n", "must lead to files inside the manifest's folder"),
        ("path,label\n0.png,cat\n0.png,dog\n", r"Line 3 .*'0.png' as dog .*as cat \(train\)"),
        ("path,label,split\n0.png,cat,best\n", "Line 2 of .* has the split 'best'"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(folder: Path, text: str, sentence: str) -> None:
    with pytest.raises(BadManifest, match=sentence):
        add(folder, text)


def test_a_table_of_one_class_and_what_is_no_table_are_refused(folder: Path) -> None:
    with pytest.raises(SourceError, match="has 1 class, cat: it needs at least two"):
        add(folder, "path,label\n0.png,cat\n1.png,cat\n")
    with pytest.raises(SourceError, match=r"a folder is folder:DIR, a table list:FILE\.csv"):
        downloads = Downloads(folder, 1.0)
        add_dataset(DatasetStore(folder.parent), downloads, "pets", f"list:{folder}")


def test_images_of_a_table_are_appended(folder: Path) -> None:
    lines = [f"{path_of(i)},{'cat' if i % 2 else 'dog'}" for i in range(8)]
    dataset = add(folder, "\n".join(["path,label", *lines]))
    (folder / "new.csv").write_text(f"path,label\n{path_of(9)},cat\n")
    root = dataset.folder.parents[2]
    images = NewImages(f"list:{folder / 'new.csv'}", JobStore(root), StorageSettings())
    grown = append_images(DatasetStore(root), "pets", images.origin, images.read).dataset
    assert classes_of(grown, "train")[9] == "cat"
