"""Folders as people have them: splits, links, odd names and images, and what is told of them."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from storage.datasets.store import DataSet, DatasetStore
from storage.jobs.store import JobStore
from storage.settings import StorageSettings
from tests.builders import encode, save
from trainer.datasets.appending import append_images
from trainer.datasets.downloads import Downloads
from trainer.datasets.new_images import NewImages
from trainer.datasets.sources import add_dataset
from trainer.errors import SourceError

NFC, NFD = "K\u00e4se", "Ka\u0308se"


class House:
    """A storage root, the settings of its trainer, and what it says."""

    def __init__(self, root: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.store = DatasetStore(root / "storage")
        self.downloads = Downloads(root / "downloads", 1.0)
        self.caplog = caplog
        caplog.set_level(logging.INFO, "trainer")

    def add(self, folder: Path, limits: Mapping[str, Any] | None = None, **options: Any) -> DataSet:
        settings = StorageSettings(**(limits or {}))
        source = f"folder:{folder}"
        return add_dataset(self.store, self.downloads, "pets", source, settings=settings, **options)

    def append(
        self, folder: Path, limits: Mapping[str, Any] | None = None, *, strict: bool = False
    ) -> DataSet:
        jobs = JobStore(self.store.root)
        settings = StorageSettings(**(limits or {}))
        images = NewImages(f"folder:{folder}", jobs, settings, strict=strict)
        return append_images(self.store, "pets", images.origin, images.read).dataset

    @property
    def said(self) -> list[str]:
        said = [record.getMessage() for record in self.caplog.records]
        self.caplog.clear()
        return said


@pytest.fixture
def house(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> House:
    return House(tmp_path, caplog)


def shade(value: int, shape: tuple[int, ...] = (4, 4)) -> bytes:
    return encode(np.full(shape, value, np.uint8))


def put(folder: Path, files: Mapping[str, bytes | int]) -> Path:
    """Write files; a number is a small grey image of that shade."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(shade(content) if isinstance(content, int) else content)
    return folder


def pairs(dataset: DataSet, split: str) -> list[tuple[int, str]]:
    """The shade and the class of each image."""
    shades = dataset.images(split)[:, 0, 0, 0].tolist()
    classes = dataset.description.classes
    return sorted(zip(shades, (classes[i] for i in dataset.labels(split)), strict=True))


# Splits


@pytest.mark.parametrize(
    ("train", "test"),
    [
        *[("Train", "Test"), ("training", "testing"), ("TRAIN", "test"), ("trn", "tst")],
        *[("training_set", "test_set"), ("Training Set", "Test Set"), ("trainset", "testset")],
        *[("train_images", "test-images"), ("x_train", "x_test"), ("train data", "testing_data")],
        *[("seg_train/seg_train", "seg_test/seg_test"), ("train", "test/Test")],
    ],
)
def test_splits_may_have_their_usual_names_in_any_case(
    house: House, tmp_path: Path, train: str, test: str
) -> None:
    folder = put(
        tmp_path / "d",
        {f"{train}/cat/1.png": 1, f"{train}/dog/2.png": 2, f"{test}/dog/3.png": 3},
    )
    dataset = house.add(folder)
    assert dataset.description.classes == ("cat", "dog")
    assert pairs(dataset, "train") == [(1, "cat"), (2, "dog")]
    assert pairs(dataset, "test") == [(3, "dog")]
    assert house.said == []


@pytest.mark.parametrize("name", ["val", "Valid", "validation"])
def test_validation_images_train_when_there_are_test_images(
    house: House, tmp_path: Path, name: str
) -> None:
    folder = put(
        tmp_path / "d",
        {"train/cat/1.png": 1, "train/dog/2.png": 2, f"{name}/cat/3.png": 3, "test/dog/4.png": 4},
    )
    dataset = house.add(folder)
    assert pairs(dataset, "train") == [(1, "cat"), (2, "dog"), (3, "cat")]
    assert pairs(dataset, "test") == [(4, "dog")]
    assert house.said == [f"The images in {name} train, too; those in test are for test."]


@pytest.mark.parametrize("name", ["val", "Valid", "validation"])
def test_validation_images_are_for_test_when_there_are_no_others(
    house: House, tmp_path: Path, name: str
) -> None:
    files = {"train/cat/1.png": 1, "train/dog/2.png": 2, f"{name}/cat/3.png": 3}
    dataset = house.add(put(tmp_path / "d", files))
    assert pairs(dataset, "train") == [(1, "cat"), (2, "dog")]
    assert pairs(dataset, "test") == [(3, "cat")]
    assert house.said == [f"The images in {name} are the test images: there is no folder test."]


def test_a_class_may_be_called_like_a_split_and_more(house: House, tmp_path: Path) -> None:
    names = [f"{name}/{i}.png" for name in ("training shoe", "testament", "vale") for i in (1, 2)]
    dataset = house.add(put(tmp_path / "d", dict.fromkeys(names, 1)))
    assert dataset.description.classes == ("testament", "training shoe", "vale")
    assert house.said == []


def test_the_same_folders_in_every_class_are_told_since_they_may_be_the_classes(
    house: House, tmp_path: Path
) -> None:
    names = [f"{a}/{b}/{i}.png" for a in ("fold1", "fold2") for b in ("cat", "dog") for i in (1, 2)]
    dataset = house.add(put(tmp_path / "d", dict.fromkeys(names, 1)))
    assert dataset.description.classes == ("fold1", "fold2")
    (said,) = house.said
    assert "Each of the classes fold1, fold2 has the folders cat, dog: " in said
    assert "call the folders above them train and test" in said


def test_folders_in_one_class_or_one_in_each_are_nothing_to_tell(
    house: House, tmp_path: Path
) -> None:
    files = {"cat/images/1.png": 1, "cat/more/2.png": 1, "dog/images/1.png": 2, "dog/2.png": 2}
    house.add(put(tmp_path / "d", files))
    assert house.said == []


def test_a_folder_of_images_called_train_among_others_is_a_class(
    house: House, tmp_path: Path
) -> None:
    names = [f"{name}/{i}.png" for name in ("car", "plane", "train") for i in range(3)]
    dataset = house.add(put(tmp_path / "d", dict.fromkeys(names, 1)))
    assert dataset.description.classes == ("car", "plane", "train")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["train/cat/1.png"], r"no folder test beside it: name folder:.*/d/train to have a share"),
        (["val/cat/1.png", "test/cat/1.png"], "folder test and val but no folder train beside it"),
        (["train/c/1.png", "test/c/1.png", "Testing/c/1.png"], "two folders for test, Testing and"),
        (["train/cat/1.png", "test/1.png"], r"d/test has no subfolders: .* \(passed over: 1 image"),
        (["cat/1.png", "cow/a.psd", "dog/a.txt"], r"in cow, dog: add some .* \(passed over: 1 \."),
        (["all/cat/1.png", "all/dog/1.png"], "1 class, all: it needs"),
        (["1.png", "2.png"], r"has no subfolders: .* \(passed over: 2 images in no class folder\)"),
    ],
)
def test_a_folder_that_is_laid_out_otherwise_is_refused_with_a_way_out(
    house: House, tmp_path: Path, names: list[str], sentence: str
) -> None:
    folder = put(tmp_path / "d", {name: shade(1) for name in names})
    if "all/cat/1.png" in names:
        put(folder, {"all/cat/2.png": 2})
    with pytest.raises(SourceError, match=sentence):
        house.add(folder)


# What is passed over


def test_what_is_no_image_of_a_class_is_told_once_and_by_number(
    house: House, tmp_path: Path
) -> None:
    folder = put(
        tmp_path / "d",
        {
            **{
                f"{split}/{name}/{i}.png": i
                for split in ("train", "test")
                for name in "ab"
                for i in (1, 2)
            },
            "train/a/._1.png": b"Mac OS X",
            "train/a/.ipynb_checkpoints/1-checkpoint.png": 1,
            "__MACOSX/train/a/1.png": b"Mac OS X",
            "train/b/scan.jxl": b"II",
            "train/loose.png": 3,
            "extra/c/1.png": 4,
            "README.txt": b"hello",
        },
    )
    (folder / "train" / "a" / "folder.jpg").mkdir()
    (folder / "train" / "a" / "again").symlink_to(folder)
    dataset = house.add(folder)
    assert {name: part.count for name, part in dataset.description.splits.items()} == {
        "train": 4,
        "test": 4,
    }
    assert house.said == [
        "Passed over: 1 .jxl (no supported format), 1 hidden file, 1 hidden folder, 1 folder of "
        "another program, 1 link to a folder that contains it, 2 images in no class folder, "
        "1 other file (README.txt)."
    ]


def test_linked_classes_and_splits_are_followed(house: House, tmp_path: Path) -> None:
    put(tmp_path / "pool", {"cat/1.png": 1, "cat/deep/2.png": 2, "dog/3.png": 3, "dog/4.png": 4})
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "train").symlink_to("../pool")
    (folder / "test" / "dog").mkdir(parents=True)
    (folder / "test" / "dog" / "5.png").symlink_to("../../../pool/dog/3.png")
    dataset = house.add(folder)
    assert pairs(dataset, "train") == [(1, "cat"), (2, "cat"), (3, "dog"), (4, "dog")]
    assert pairs(dataset, "test") == [(3, "dog")]
    assert house.said == []


def test_every_suffix_of_a_format_is_an_image(house: House, tmp_path: Path) -> None:
    jpeg = encode(np.full((4, 4), 9, np.uint8), "JPEG")
    files = {
        f"{name}/{i}{suffix}": jpeg for name in "ab" for i, suffix in enumerate((".JFIF", ".jpe"))
    }
    assert len(pairs(house.add(put(tmp_path / "d", files)), "train")) == 2


# Names


def test_folders_of_one_name_in_other_encodings_are_one_class(house: House, tmp_path: Path) -> None:
    files = {f"{NFC}/1.png": 1, f"{NFD} /2.png": 2, "b/1.png": 3, "b/2.png": 4}
    dataset = house.add(put(tmp_path / "d", files))
    assert dataset.description.classes == (NFC, "b")
    assert [label for _, label in pairs(dataset, "train") + pairs(dataset, "test")].count(NFC) == 2
    assert house.said == [f"Two folders are called {NFC}, written differently: they are one class."]


def test_a_class_is_the_same_in_both_splits_and_when_appended_to(
    house: House, tmp_path: Path
) -> None:
    files = {f"train/{NFC}/1.png": 1, "train/b/2.png": 2, f"test/{NFD}/3.png": 3}
    assert pairs(house.add(put(tmp_path / "d", files)), "test") == [(3, NFC)]
    dataset = house.append(put(tmp_path / "new", {f"{NFD}/9.png": 9, " b/8.png": 8}))
    assert pairs(dataset, "train") == [(1, NFC), (2, "b"), (8, "b"), (9, NFC)]


@pytest.mark.parametrize("name", [" ", "\udce9t\udce9"])
def test_a_folder_that_cannot_name_a_class_is_refused(
    house: House, tmp_path: Path, name: str
) -> None:
    folder = put(tmp_path / "d", {f"{name}/1.png": 1, f"{name}/2.png": 2, "a/1.png": 1})
    with pytest.raises(SourceError, match="cannot be the name of a class"):
        house.add(folder)


# Sizes and colours


def portrait(orientation: int, format: str = "JPEG") -> bytes:
    """An image stored 30 wide and 10 high, with EXIF that says how to turn it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(np.zeros((10, 30), np.uint8), format, exif=exif.tobytes())


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_are_those_of_the_upright_image(
    house: House, tmp_path: Path, orientation: int, format: str
) -> None:
    content = portrait(orientation, format)
    names = [f"{name}/{i}.{format.lower()}" for name in "ab" for i in range(2)]
    dataset = house.add(put(tmp_path / "d", dict.fromkeys(names, content)))
    upright = (30, 10) if orientation > 4 else (10, 30)
    assert dataset.description.shape[:2] == upright
    assert house.said == []


def test_what_is_resized_and_stretched_is_told_with_the_way_to_change_it(
    house: House, tmp_path: Path
) -> None:
    shapes = [(8, 6)] * 4 + [(16, 12), (17, 13), (6, 8)]
    files = {f"{name}/{i}.png": shade(i, s) for name in "ab" for i, s in enumerate(shapes)}
    folder = put(tmp_path / "d", files)
    assert house.add(folder).description.shape == (8, 6, 1)
    assert house.said == [
        "Brought to 8 x 6 (H x W) by antialias: 6 of 14 images, 2 of them stretched; --size, "
        "--resize and --interpolation change that."
    ]
    assert house.add(folder, size=(6, 6), replace=True).description.shape == (6, 6, 1)
    assert "6 x 6 (H x W) by antialias: 14 of 14 images, 14 of them stretched" in house.said[0]
    house.append(put(tmp_path / "new", {"a/1.png": shade(99, (12, 6))}))
    assert house.said == [
        "Brought to 6 x 6 (H x W) like the data set: 1 of 1 image, 1 of them stretched."
    ]


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("P", 1), ("RGB", 3), ("RGBA", 3)]
)
def test_a_data_set_is_grey_when_no_image_loses_colours_by_that(
    house: House, tmp_path: Path, mode: str, channels: int
) -> None:
    Image.new("L", (4, 4), 100).convert(mode).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    names = [f"{name}/{i}.png" for name in "ab" for i in range(2)]
    dataset = house.add(put(tmp_path / "d", dict.fromkeys(names, content)))
    assert dataset.description.shape[2] == channels


def test_a_coloured_palette_makes_a_coloured_data_set(house: House, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), "red").convert("P").save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    names = [f"{name}/{i}.png" for name in "ab" for i in range(2)]
    dataset = house.add(put(tmp_path / "d", dict.fromkeys(names, content)))
    assert dataset.description.shape[2] == 3


def test_coloured_images_appended_to_a_grey_data_set_are_told(house: House, tmp_path: Path) -> None:
    house.add(put(tmp_path / "d", {f"{name}/{i}.png": i for name in "ab" for i in range(2)}))
    house.append(put(tmp_path / "new", {"a/1.png": shade(99, (4, 4, 3))}))
    assert house.said == ["Made grey like the data set: 1 of 1 image."]


def test_pictures_become_pixels_before_white(house: House, tmp_path: Path) -> None:
    dataset = house.add(put(tmp_path / "d", {f"{n}/{i}.png": i for n in "ab" for i in range(2)}))
    assert dataset.description.preprocessing.background == (255, 255, 255)


def test_that_only_the_first_of_several_pages_is_taken_is_told_once(
    house: House, tmp_path: Path
) -> None:
    pages = [Image.new("L", (4, 4), value) for value in (90, 200)]
    several = save(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    shades = {
        f"{split}/{n}/{i}.png": i for split in ("train", "test") for n in "ab" for i in (1, 2)
    }
    dataset = house.add(put(tmp_path / "d", {**shades, "train/a/3.tif": several}))
    assert (90, "a") in pairs(dataset, "train")
    assert house.said == ["1 image has several pages or frames: the first is taken."]
    house.append(put(tmp_path / "new", {"a/4.tif": several.replace(bytes([90]), bytes([91]))}))
    assert "1 image has several pages or frames: the first is taken." in house.said


# Images that cannot be used


def test_all_images_that_cannot_be_used_are_named_at_once(house: House, tmp_path: Path) -> None:
    whole = encode(np.random.default_rng(1).integers(0, 256, (40, 40), np.uint8), "JPEG")
    folder = put(
        tmp_path / "d",
        {
            **{f"{name}/{i}.png": i for name in "ab" for i in range(3)},
            "a/text.png": b"hello",
            "b/half.jpg": whole[: len(whole) // 2],
            "b/empty.gif": b"",
        },
    )
    with pytest.raises(SourceError, match=r"^3 images of .*/d cannot be used: ") as caught:
        house.add(folder, strict=True)
    for name in ("a/text.png (not an image of a supp", "b/half.jpg (damaged", "b/empty.gif (not"):
        assert name in str(caught.value)
    assert str(caught.value).endswith(
        ": fix or remove them, or leave out --strict to go on without them."
    )
    assert house.store.names() == []


def test_images_that_cannot_be_used_are_named_and_left_out(house: House, tmp_path: Path) -> None:
    shades = {
        f"{split}/{n}/{i}.png": i for split in ("train", "test") for n in "ab" for i in (1, 2)
    }
    broken = {"train/a/0.png": b"hello", "train/b/9.png": b"", "test/a/3.png": shade(3)[:-20]}
    dataset = house.add(put(tmp_path / "d", {**shades, **broken}))
    for split in ("train", "test"):
        assert sorted(pairs(dataset, split)) == [(1, "a"), (1, "b"), (2, "a"), (2, "b")]
    dataset.verify()
    (said,) = [line for line in house.said if line.startswith("Left out")]
    for name in broken:
        assert f"{name} (" in said
    new = put(tmp_path / "new", {"a/0.png": b"hello", "a/1.png": 77})
    assert (77, "a") in pairs(house.append(new), "train")
    assert "a/0.png (" in "".join(house.said)
    with pytest.raises(SourceError, match=r"1 image of .*/new cannot be used"):
        house.append(new, strict=True)


def test_what_is_left_out_is_not_counted_among_the_resized(house: House, tmp_path: Path) -> None:
    shapes = [(8, 6)] * 4 + [(16, 12)]
    files = {f"{name}/{i}.png": shade(i, s) for name in "ab" for i, s in enumerate(shapes)}
    house.add(put(tmp_path / "d", {**files, "a/torn.png": shade(9, (16, 12))[:-20]}))
    assert "2 of 10 images; --size" in "".join(house.said)


def test_images_of_very_different_sizes_need_one_that_is_told(house: House, tmp_path: Path) -> None:
    files = {f"{n}/{i}.png": shade(i, (8, 9 + i)) for n in "ab" for i in range(5)}
    folder = put(tmp_path / "d", files)
    with pytest.raises(SourceError, match="5 sizes, and none is that of many: say with --size"):
        house.add(folder)
    assert house.add(folder, size=(8, 8)).description.shape == (8, 8, 1)


def test_a_class_without_any_image_to_train_on_is_refused(house: House, tmp_path: Path) -> None:
    files: dict[str, bytes | int] = {"train/a/1.png": 1, "test/a/1.png": 1, "train/b/1.png": b"x"}
    with pytest.raises(SourceError, match="no training image of b that can be read"):
        house.add(put(tmp_path / "d", files))
    with pytest.raises(SourceError, match="no test image that can be read"):
        house.add(put(tmp_path / "d", {"train/b/1.png": 1, "test/a/1.png": b"x"}))
    assert house.store.names() == []


def test_of_images_that_cannot_be_used_each_reason_is_told_once(
    house: House, tmp_path: Path
) -> None:
    broken = {"a/1.png": b"x", "a/2.png": b"", "b/3.png": b"y", "b/4.png": b""}
    good = {f"{name}/good-{i}.png": i for name in "ab" for i in (1, 2)}
    house.add(put(tmp_path / "d", {**good, **broken}))
    (said,) = [line for line in house.said if line.startswith("Left out")]
    assert ": a/1.png, b/3.png (not an image of a supported format (PNG, " in said
    assert "; a/2.png, b/4.png (not an image but an empty file)." in said


def test_of_many_images_that_cannot_be_used_ten_are_named(house: House, tmp_path: Path) -> None:
    folder = put(tmp_path / "d", {f"{name}/{i:02}.png": b"x" for name in "ab" for i in range(7)})
    with pytest.raises(SourceError, match=r"^14 images .*b/02.png \([^)]*\)\) and 4 more: fix"):
        house.add(folder, strict=True)


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"max_image_pixels": 99}, r"100 pixels, BATCHSIGHT_MAX_IMAGE_PIXELS is 99"),
        ({"max_image_bytes": 150}, r"bytes, BATCHSIGHT_MAX_IMAGE_BYTES is 150"),
    ],
)
def test_limits_hold_when_images_are_added_and_appended(
    house: House, tmp_path: Path, limits: dict[str, Any], sentence: str
) -> None:
    noise = encode(np.random.default_rng(1).integers(0, 256, (10, 10), np.uint8))
    files = {f"{name}/{i}.png": i for name in "ab" for i in range(2)}
    folder = put(tmp_path / "d", {**files, "a/large.png": noise})
    with pytest.raises(
        SourceError, match=rf"1 image .*a/large\.png \(.*{sentence}\): fix or .*, or raise"
    ):
        house.add(folder, limits, strict=True)
    house.add(folder)
    new = put(tmp_path / "new", {"a/large.png": noise})
    with pytest.raises(SourceError, match=sentence):
        house.append(new, limits, strict=True)
    assert house.store.numbers("pets") == [1]
