"""The file that names a model's classes."""

from pathlib import Path

import pytest

from trainer.errors import ImportFailed
from trainer.importing.class_names_file import read_labels


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.txt"


def test_labels_are_one_a_line(path: Path) -> None:
    path.write_text("zero\none \n\u4e8c\n", "utf-8")
    assert read_labels(path) == ("zero", "one", "\u4e8c")


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffa b\nc".encode(),
        b"a b\r\nc\r\n",
        b"a b\nc\n\n \n\r\n",
        "a b\nc\n".encode("utf-16"),
        "\ufeffa b\r\nc".encode("utf-16-be"),
        b"  a b\t\nc",
    ],
)
def test_how_an_editor_saves_the_names_makes_no_difference(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert read_labels(path) == ("a b", "c")


def test_joiners_belong_to_the_words_of_some_scripts(path: Path) -> None:
    path.write_text("\u0646\u0645\u06cc\u200c\u062e\u0648\nant\n", "utf-8")
    assert read_labels(path) == ("\u0646\u0645\u06cc\u200c\u062e\u0648", "ant")


def test_names_are_composed(path: Path) -> None:
    path.write_text("Ka\u0308se\nBrot\n", "utf-8")
    assert read_labels(path) == ("K\u00e4se", "Brot")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "must name two classes or more, one a line"),
        (b"one\n", "must name two classes or more, one a line"),
        (b"a\n\nb\n", "line 2 is empty"),
        (b"\na\nb\n", "line 1 is empty"),
        (b"a\nb\na\n", "lines 1 and 3 both name 'a'"),
        ("ant\nbee\nant\u200b\n".encode(), r"line 3 .*nobody sees, U\+200B: 'ant\\u200b'"),
        ("ant\nbee\nan\u200dt\n".encode(), r"line 3 .*nobody sees, U\+200D"),
        ("ant\nred\u2028bee\n".encode(), r"line 2 .*nobody sees, U\+2028"),
        ("\u0915\u094d\u0937\n\u0915\u094d\u200d\u0937\n".encode(), "lines 1 and 2 both name"),
        ("K\u00e4se\nKa\u0308se\n".encode(), "lines 1 and 2 both name 'K\u00e4se'"),
        (b"\xfc\n\xff", "is not UTF-8 text"),
        (b"\xff\xfe\n", "is not UTF-8 text"),
        ("a\nb\n".encode("utf-16-le"), "line 1 holds more than a name, or no text"),
        (b"0\ta\n1\tb\n", r"line 1 holds more than a name, or no text: '0\\ta'"),
        (b'["a",\n"b"]\n', "looks like JSON: write the names alone"),
        (b'{"0": "a"}', "looks like JSON"),
        (b'\xef\xbb\xbf[\n"a",\n"b"]', "looks like JSON"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(path: Path, content: bytes, sentence: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ImportFailed, match=sentence):
        read_labels(path)


def test_a_file_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(ImportFailed, match=r"no file .*labels\.txt with the names of the classes"):
        read_labels(path)
