"""Which files of a folder are images, in which order, and what is counted of the rest."""

import os
import socket
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from PIL import Image

from imaging.decoding.formats import FORMATS, SUFFIXES, SUFFIXES_OF
from imaging.image_folders import describe_passed_over, list_images


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"content does not matter")
    return folder


def test_files_are_listed_folder_by_folder_and_sorted_by_name_in_each(tmp_path: Path) -> None:
    put(tmp_path, "b/2.png", "a/10.png", "c.png", "a/9.jpg", "a/d/1.png", "a.png", "a-b/x.png")
    assert list_images(tmp_path).files == [
        *("a/10.png", "a/9.jpg", "a/d/1.png"),
        *("a-b/x.png", "a.png", "b/2.png", "c.png"),
    ]


def test_a_supported_format_is_known_by_all_its_suffixes_in_any_case(tmp_path: Path) -> None:
    names = [f"{i}{suffix}" for i, suffix in enumerate(sorted(SUFFIXES))]
    put(tmp_path, *names, "x.JFIF", "y.Jpe", "z.DIB")
    listing = list_images(tmp_path)
    assert sorted(listing.files) == sorted([*names, "x.JFIF", "y.Jpe", "z.DIB"])
    assert not listing.passed_over


def test_the_suffixes_of_a_format_are_not_those_of_another_for_pillow() -> None:
    Image.init()
    for format in FORMATS:
        for suffix in SUFFIXES_OF[format]:
            # Windows writes .dib files like .bmp files; what has no such header is told by content.
            assert Image.EXTENSION.get(suffix, format) in (format, "DIB", "MPO")


@pytest.mark.parametrize(
    ("names", "passed_over"),
    [
        ((".a.png", "._a.png", ".DS_Store", "d/.b.jpg"), {"hidden_files": 4}),
        ((".ipynb_checkpoints/a-checkpoint.png", ".thumbs/1/2.png"), {"hidden_folders": 2}),
        (("__MACOSX/a.png", "d/@eaDir/a.jpg", "#recycle/a.png"), {"program_folders": 3}),
        (("a.jxl", "b.JXL", "c.psd", "d.svg"), {".jxl": 2, ".psd": 1, ".svg": 1}),
        (
            ("Thumbs.db", "notes.txt", "png", "a.png.part", "a.", "a.png ", "b.jpg~"),
            {"other_files": 7},
        ),
    ],
)
def test_what_is_passed_over_is_counted_by_kind(
    tmp_path: Path, names: tuple[str, ...], passed_over: dict[str, int]
) -> None:
    put(tmp_path, *names, "good.png")
    listing = list_images(tmp_path)
    assert listing.files == ["good.png"]
    assert listing.passed_over == passed_over


def test_a_folder_called_like_an_image_is_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "folder.jpg/a.png")
    (tmp_path / "empty.png").mkdir()
    assert list_images(tmp_path) == (["folder.jpg/a.png"], frozenset(), {}, [])


def test_pipes_and_sockets_are_counted_and_not_opened(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "linked.png").symlink_to(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.png"))
        listing = list_images(tmp_path)
    assert (listing.files, listing.passed_over) == (["a.png"], {"special_files": 3})


def test_links_to_files_are_files_and_those_that_lead_nowhere_are_counted(tmp_path: Path) -> None:
    put(tmp_path, "d/a.png", "elsewhere/notes")
    (tmp_path / "d" / "b.png").symlink_to("a.png")
    (tmp_path / "d" / "c.png").symlink_to("../elsewhere/notes")
    (tmp_path / "d" / "gone.png").symlink_to("nothing")
    (tmp_path / "d" / "itself.png").symlink_to("itself.png")
    listing = list_images(tmp_path / "d")
    assert listing.files == ["a.png", "b.png", "c.png"]
    assert listing.linked == {"b.png", "c.png"}
    assert listing.passed_over == {"broken_links": 2}


def test_links_to_folders_are_counted_or_followed_as_asked(tmp_path: Path) -> None:
    put(tmp_path, "pool/blue/1.png", "pool/blue/deep/2.png", "d/red/3.png")
    (tmp_path / "d" / "blue").symlink_to("../pool/blue")
    (tmp_path / "d" / "azure").symlink_to("../pool/blue")
    counted = list_images(tmp_path / "d")
    assert (counted.files, counted.passed_over) == (["red/3.png"], {"linked_folders": 2})
    followed = list_images(tmp_path / "d", follow_links=True)
    links = ["azure/1.png", "azure/deep/2.png", "blue/1.png", "blue/deep/2.png"]
    assert followed == ([*links, "red/3.png"], frozenset(links), {}, [])


@pytest.mark.parametrize("target", [".", "..", "../..", "../../../", "b", "c"])
def test_no_link_is_followed_in_a_circle(tmp_path: Path, target: str) -> None:
    put(tmp_path, "d/a/1.png", "d/a/b/2.png", "d/c/3.png")
    (tmp_path / "d" / "a" / "b" / "again").symlink_to(target)
    (tmp_path / "d" / "c" / "there").symlink_to("../a")
    (tmp_path / "d" / "a" / "c").symlink_to("../c")
    listing = list_images(tmp_path / "d", follow_links=True)
    assert {"a/1.png", "a/b/2.png", "c/3.png", "c/there/1.png"} <= set(listing.files)
    assert len(listing.files) < 20
    assert listing.passed_over.get("looping_links", 0) + listing.passed_over.get("broken_links", 0)


def test_a_link_to_a_folder_above_the_listed_one_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path, "d/a/1.png", "beside.png")
    for name, target in (("d/up", ".."), ("d/a/itself", "."), ("d/a/top", tmp_path.parent)):
        (tmp_path / name).symlink_to(target)
    listing = list_images(tmp_path / "d", follow_links=True)
    assert (listing.files, listing.passed_over) == (["a/1.png"], {"looping_links": 3})


def test_a_link_to_a_folder_above_a_linked_one_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path, "pool/x/1.png", "pool/beside.png", "d/2.png")
    (tmp_path / "d" / "x").symlink_to("../pool/x")
    (tmp_path / "pool" / "x" / "up").symlink_to("..")
    listing = list_images(tmp_path / "d", follow_links=True)
    assert (listing.files, listing.passed_over) == (["2.png", "x/1.png"], {"looping_links": 1})


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere") as caught:
        list_images(tmp_path / "nowhere")
    assert str(caught.value.filename) == str(tmp_path / "nowhere")


def test_folders_may_lie_deep_in_one_another(tmp_path: Path) -> None:
    depth = sys.getrecursionlimit() + 100
    top = tmp_path / "top"
    top.mkdir()
    descriptors = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=descriptors)
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptors)
        os.close(descriptors)
        descriptors = inner
    os.close(os.open("a.png", os.O_CREAT, dir_fd=descriptors))
    os.close(descriptors)
    files = list_images(top).files
    subprocess.run(["rm", "-r", str(top)], check=True)  # too deep for pytest, which tidies up later
    assert files == ["d/" * depth + "a.png"]


def test_a_name_costs_little_memory(tmp_path: Path) -> None:
    for i in range(5_000):
        (tmp_path / f"image-{i:08d}.png").touch()
    tracemalloc.start()
    files = list_images(tmp_path).files
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(files) == 5_000
    assert peak < 5_000 * 120


def test_what_is_passed_over_is_told_in_a_few_words() -> None:
    counts = {"hidden_files": 3, ".tif": 1140, ".heic": 1, "linked_folders": 2, "broken_links": 1}
    assert describe_passed_over(counts) == (
        "1 .heic, 1,140 .tif (no supported format), 3 hidden files, 2 links to folders, "
        "1 broken link"
    )
    assert describe_passed_over({}) == ""


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a/notes.txt", "labels.csv"), "2 other files (labels.csv, a/notes.txt)"),
        (("5", "4", "3", "2", "1"), "5 other files (1, 2, 3 and 2 more)"),
    ],
)
def test_the_first_other_files_are_named(tmp_path: Path, names: tuple[str, ...], told: str) -> None:
    listing = list_images(put(tmp_path, *names))
    assert describe_passed_over(listing.passed_over, listing.other_files) == told
