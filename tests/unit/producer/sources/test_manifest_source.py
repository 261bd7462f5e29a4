"""Manifests as spreadsheets, scripts and other systems write them."""

import json
import tracemalloc
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.errors import SourceError, UnknownLabel
from producer.sources.unique_ids import first_repeated
from storage.errors import BadManifest
from storage.jobs.inputs import UNLABELLED
from storage.manifests.table_reader import Table
from tests.builders import encode, images_of
from tests.sources import Prepare

NFC, NFD = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    (tmp_path / "storage").mkdir()
    return Prepare(tmp_path / "storage")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of four images: a.png, b.png, sub/c.png and é.png."""
    folder = tmp_path / "pictures"
    for number, name in enumerate(("a.png", "b.png", "sub/c.png", NFC)):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(encode(images_of([number])[0]))
    return folder


def write(folder: Path, text: str, name: str = "m.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def taken(prepare: Prepare) -> list[tuple[str, int]]:
    return [(image.id, image.label) for image in prepare.packed()]


def test_the_first_bad_line_is_named_and_the_others_up_to_the_limit_are_counted(
    prepare: Prepare, folder: Path
) -> None:
    path = write(
        folder, "path,label\na.png,one\nno.png,one\nb.png,seven\nsub/c.png\n\n,one\n", "m.csv"
    )
    first = r"^Line 3 of .*m.csv names 'no.png', but there is no such file"
    for limit, others in ((2, r"\."), (3, "; 1 more line cannot"), (5, "; 2 more lines cannot")):
        with pytest.raises(BadManifest, match=first + others):
            prepare(path, limit=limit)


PLAIN = "path,label\na.png,one\nsub/c.png,two\n"


@pytest.mark.parametrize(
    ("text", "encoding", "notes"),
    [
        (PLAIN, "utf-8", []),
        (PLAIN, "utf-8-sig", []),
        (PLAIN.replace("\n", "\r\n"), "utf-8", []),
        (PLAIN.replace("\n", "\r"), "utf-8", []),
        (PLAIN.replace(",", ";"), "utf-8", ["separated by semicolons"]),
        (PLAIN.replace(",", "\t"), "utf-8", ["separated by tabs"]),
        (PLAIN.replace(",", "|"), "utf-8", ["separated by bars"]),
        ("sep=,\n" + PLAIN, "utf-8", []),
        ("sep=;\n" + PLAIN.replace(",", ";"), "utf-8", []),
        ('"sep=,"\r\n' + PLAIN.replace("\n", "\r\n"), "utf-8-sig", []),
        ("sep=\t\n" + PLAIN.replace(",", "\t"), "utf-8", []),
        (PLAIN, "utf-16", ["read as UTF-16"]),
        (PLAIN.replace(",", "\t"), "utf-16", ["read as UTF-16", "separated by tabs"]),
        (PLAIN, "utf-16-le", ["read as UTF-16-LE"]),
        (PLAIN, "utf-16-be", ["read as UTF-16-BE"]),
        (PLAIN, "utf-32", ["read as UTF-32"]),
        ("path,label,,,\na.png,one,,,\nsub/c.png,two,,,\n,,,,\n,,,,\n", "utf-8", []),
        ("\n\npath,label\n\na.png,one\n\n , \nsub/c.png,two\n\n,\n", "utf-8", []),
        ("path, label\na.png, one\n sub/c.png,two \n", "utf-8", []),
        ('"path", "label"\n"a.png", "one"\n"sub/c.png", "two"\n', "utf-8", []),
        ("Path,LABEL \na.png,one\nsub/c.png,two\n", "utf-8", []),
        ("label,path\none,a.png\ntwo,sub/c.png\n", "utf-8", []),
        ("filename,class\na.png,one\nsub/c.png,two\n", "utf-8", ["`filename` is taken", "`class`"]),
        ("File Name,labels\na.png,one\nsub/c.png,two\n", "utf-8", ["`File Name` is", "`labels`"]),
        ("path,label,class\na.png,one,x\nsub/c.png,two,y\n", "utf-8", ["`class` is not used, `la"]),
        (
            "path,label,note\na.png,one,x\nsub/c.png,two,\n",
            "utf-8",
            ["column `note` is kept in the records."],
        ),
        (
            "path,label,score,model\na.png,one,1,m\nsub/c.png,two,,\n",
            "utf-8",
            ["the columns `score`, `model` are not kept: the records have their own of these"],
        ),
        (
            "path,label,p_one,p_own\na.png,one,1,m\nsub/c.png,two,,\n",
            "utf-8",
            ["`p_one` is not kept: the records have their own of this name.", "`p_own` is kept"],
        ),
    ],
)
def test_a_table_is_read_as_people_have_it_and_what_was_assumed_is_said(
    prepare: Prepare, folder: Path, text: str, encoding: str, notes: list[str]
) -> None:
    path = write(folder, text, encoding=encoding)
    done = prepare(path)
    assert taken(prepare) == [("a.png", 1), ("sub/c.png", 2)]
    assert len(done.notes) == len(notes)
    assert all(part in note for part, note in zip(notes, done.notes, strict=True))


def test_a_tsv_file_has_tabs(prepare: Prepare, folder: Path) -> None:
    done = prepare(write(folder, PLAIN.replace(",", "\t"), "m.TSV"))
    assert (taken(prepare), list(done.notes)) == ([("a.png", 1), ("sub/c.png", 2)], [])


@pytest.mark.parametrize("header", ["category", "target", "y_true", "species"])
def test_a_column_that_may_have_been_meant_for_labels_is_pointed_out(
    prepare: Prepare, folder: Path, header: str
) -> None:
    done = prepare(write(folder, f"path,{header}\na.png,one\n"))
    assert done.labelled == 0
    assert (
        f"the column `{header}` is kept in the records; labels are read from `label`."
        in done.notes[0]
    )


@pytest.mark.parametrize(
    "header", ["path,label,label", "path,label, Label", "path,class,labels", "path,Path,label"]
)
def test_a_column_that_is_there_twice_is_refused(
    prepare: Prepare, folder: Path, header: str
) -> None:
    with pytest.raises(BadManifest, match=r"m\.csv has `.*` twice, the columns .*: keep one\."):
        prepare(write(folder, f"{header}\na.png,one,two\n"))
    line = '{"path": "a.png", "label": "one", "label": "two"}'
    with pytest.raises(BadManifest, match=r"Line 1 of .*m\.jsonl has a key twice"):
        prepare(write(folder, line, "m.jsonl"))


@pytest.mark.parametrize(
    ("text", "first", "second", "id"),
    [
        ("id,path\n1,a.png\n2,b.png\n1,sub/c.png\n", 2, 4, "1"),
        ("path\na.png\n\nb.png\na.png\n", 2, 5, "a.png"),
        ("id,path\na.png,b.png\n,a.png\n", 2, 3, "a.png"),
    ],
)
def test_ids_that_are_not_unique_are_refused_before_any_image_is_read(
    prepare: Prepare, folder: Path, text: str, first: int, second: int, id: str
) -> None:
    with pytest.raises(BadManifest, match=rf"Lines {first} and {second} of .* have one id, '{id}'"):
        prepare(write(folder, text))
    assert list(prepare.draft.inputs.iterdir()) == []


def test_beyond_the_limit_an_id_may_come_again(prepare: Prepare, folder: Path) -> None:
    assert prepare(write(folder, "path\na.png\nb.png\na.png\n"), limit=2).total == 2


def test_a_file_named_twice_is_refused(prepare: Prepare, folder: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.png is named twice"):
        prepare(folder / "a.png", folder / "b.png", folder / "a.png")


def test_ids_of_a_long_manifest_cost_little_memory(folder: Path) -> None:
    lines = 50_000
    path = write(folder, "path\n" + "".join(f"some/folder/{i}.png\n" for i in range(lines)))
    table = Table(path, {"path": "a.png"})
    tracemalloc.start()
    assert first_repeated(lambda: (row.fields["path"] for row in table)) is None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * lines  # a set of the paths takes 150 a line


# Paths


@pytest.mark.parametrize(
    ("path", "file", "note"),
    [
        ("sub\\c.png", "sub/c.png", "backslashes are read as slashes"),
        (".\\sub\\c.png", "sub/c.png", "backslashes are read as slashes"),
        (NFD, NFC, "another Unicode form"),
        ("./a.png", "a.png", None),
        ("FOLDER/a.png", "a.png", None),
        ("FOLDER/sub/../a.png", "a.png", None),
    ],
)
def test_paths_are_found_as_other_systems_write_them(
    prepare: Prepare, folder: Path, path: str, file: str, note: str | None
) -> None:
    path = path.replace("FOLDER", str(folder))
    manifest = write(folder, f"path\n{path}\n")
    done = prepare(manifest)
    (image,) = prepare.packed()
    assert (image.id, image.content) == (path, (folder / file).read_bytes())
    assert [note in text for text in done.notes] == [True] if note else not done.notes


def test_a_file_whose_name_has_a_backslash_is_itself(prepare: Prepare, folder: Path) -> None:
    (folder / "sub\\c.png").write_bytes(b"another")
    done = prepare(write(folder, "path\nsub\\c.png\n"))
    assert (prepare.packed()[0].content, list(done.notes)) == (b"another", [])


def test_a_name_on_disk_in_nfd_is_found_by_nfc(prepare: Prepare, folder: Path) -> None:
    (folder / NFC).rename(folder / NFD)
    prepare(write(folder, f"path\n{NFC}\n"))
    assert prepare.packed()[0].content == (folder / NFD).read_bytes()


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("https://example.org/a.png", "an address: fetch the images"),
        ("s3://bucket/a.png", "an address"),
        ("file:///a.png", "an address"),
        ("data:image/png;base64," + "A" * 9000, "an address"),
        ("C:\\Users\\me\\a.png", "a path of a Windows machine: name files relative"),
        ("c:/a.png", "a path of a Windows machine"),
        ("\\\\server\\share\\a.png", "a path of a Windows machine"),
        ("/home/me/a.png", "files inside the manifest's folder"),
        ("../pictures/a.png", "files inside the manifest's folder"),
        ("sub", "a folder: name its images line by line"),
        ("A.PNG", "there is no such file"),
        ("sub\\x.png", "no such file; / and not a backslash parts folders"),
        ("x" * 5000, "which cannot be read .File name too long"),
        ("a.png/b.png", "there is no such file"),
    ],
)
def test_a_path_that_leads_nowhere_says_what_it_is(
    prepare: Prepare, folder: Path, path: str, sentence: str
) -> None:
    with pytest.raises(BadManifest, match=rf"^Line 2 of .*m\.csv names .*{sentence}") as caught:
        prepare(write(folder, f'path,label\n"{path}",one\n'))
    assert len(str(caught.value)) < 400


def test_any_named_file_is_tried_whatever_its_suffix(prepare: Prepare, folder: Path) -> None:
    (folder / "a.png").rename(folder / "a.dat")
    (folder / "notes").write_text("no image")
    assert prepare(write(folder, "path\na.dat\nnotes\n")).total == 2


# What cannot be read


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a.png,one\nb.png,two\n", r"no column `path`: .* as in path; now that is 'a\.png,one'\."),
        ('path\n"a.png\nb.png\n', "Line 2 of .* is not CSV .*: look at its quotation marks"),
        ('path\na.png\n"b"x.png\nsub/c.png\n', "Line 3 of .* is not CSV"),
        ("path,label\na,b.png,one\n", "Line 2 of .* has 3 fields, but there are 2 columns"),
        ("path,label\na.png,ONE\n", "Line 2 of .* has the label 'ONE'"),
        ("path,label\na.png,1\n", "has the label '1', .*; text is a name, never a position"),
        ("path\n" + "x" * 200_000 + "\n", "Line 2 of .* is not CSV .field larger"),
        ("sep=;\n", "no column `path`"),
        ("", "no column `path`: name the columns in its first line, as in path[.]"),
    ],
)
def test_csv_that_cannot_be_used_is_told_with_its_line(
    prepare: Prepare, folder: Path, text: str, sentence: str
) -> None:
    with pytest.raises((BadManifest, UnknownLabel), match=sentence):
        prepare(write(folder, text))


def test_text_in_another_encoding_names_the_line(prepare: Prepare, folder: Path) -> None:
    with pytest.raises(BadManifest, match=r"Line 3 of .*m\.csv is not UTF-8 text: save it as such"):
        prepare(write(folder, "path,label\na.png,one\né.png,two\n", encoding="cp1252"))
    torn = write(folder, "path\na.png\n", encoding="utf-16")
    torn.write_bytes(torn.read_bytes()[:-1])
    with pytest.raises(BadManifest, match="is not text: save it as UTF-8"):
        prepare(torn)


@settings(max_examples=300)
@given(
    seed=st.sampled_from(["path,label\na.png,one\n", "sep=;\npath;id\na.png;1\n"]),
    edits=st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 3), st.binary(max_size=3)), max_size=4
    ),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    suffix=st.sampled_from([".csv", ".tsv", ".jsonl"]),
)
def test_whatever_is_in_a_table_it_is_rows_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory,
    seed: str,
    edits: list[tuple[int, int, bytes]],
    encoding: str,
    suffix: str,
) -> None:
    content = bytearray(
        ('{"path": "a.png", "label": 1}\n' * 2 if suffix == ".jsonl" else seed).encode(encoding)
    )
    for place, removed, inserted in edits:
        content[place : place + removed] = inserted
    path = tmp_path_factory.getbasetemp() / f"fuzzed{suffix}"
    path.write_bytes(content)
    table = Table(path, {"path": "a.png"}, ("path", "label", "id"), keep_others=True)
    try:
        assert all(set(row.fields) == {"path", "label", "id"} for row in table)
    except BadManifest as error:
        assert str(error).isprintable()


# JSON


@pytest.mark.parametrize(
    ("lines", "labels", "notes"),
    [
        ([{"path": "a.png", "label": "one"}, {"path": "b.png"}], [1, UNLABELLED], []),
        ([{"Path": "a.png", " label": "one"}, {"path": "b.png", "label": ""}], [1, -1], []),
        (
            [{"filename": "a.png", "class": "one"}, {"filename": "b.png", "class": "two"}],
            [1, 2],
            ["the column `filename` is taken as `path`", "the column `class` is taken as `label`"],
        ),
        (
            [{"path": "a.png", "category": 1}, {"path": "b.png", "category": 1}],
            [UNLABELLED, UNLABELLED],
            ["the column `category` is kept in the records"],
        ),
        (
            [{"path": "a.png", "label": float("nan")}, {"path": "b.png", "label": None}],
            [UNLABELLED, UNLABELLED],
            [],
        ),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_lines_are_read_by_the_same_rules(
    prepare: Prepare, folder: Path, lines: Any, labels: list[int], notes: list[str], encoding: str
) -> None:
    text = "\r\n".join(map(json.dumps, lines)) + "\r\n\r\n"
    done = prepare(write(folder, text, "m.jsonl", encoding))
    assert [image.label for image in prepare.packed()] == labels
    told = [note for note in done.notes if "read as UTF" not in note]
    assert len(told) == len(notes)
    assert all(part in note for part, note in zip(notes, told, strict=True))


@pytest.mark.parametrize("label", [7, 7.0, "7", "7.0", " 7"])
def test_a_number_in_json_is_the_class_of_that_name(
    prepare: Prepare, folder: Path, label: Any
) -> None:
    prepare(
        write(folder, json.dumps({"path": "a.png", "label": label}), "m.jsonl"), labels=("6", "7")
    )
    assert prepare.packed()[0].label == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[{"path": "a.png"}]', "Line 1 of .* is not a JSON object: .*`jq -c"),
        ('[\n{"path": "a.png"},\n{"path": "b.png"}\n]', "Line 1 of .* is not a JSON object: .*jq"),
        ('{\n"path": "a.png"\n}', "Line 1 of .* is not a JSON object: write each line as"),
        ('{"path": "a.png"},\n{"path": "b.png"}', "Line 1 of .* is not a JSON object"),
        ("[" * 100_000, "is not a JSON object"),
        ('{"path": "a.png", "label": true}', "`label` that is neither text nor a whole number"),
        ('{"path": "a.png", "label": 0.5}', "`label` that is neither text nor a whole number"),
        ('{"path": "a.png", "id": {"a": 1}}', "`id` that is neither text nor a whole number"),
        ('{"path": "a.png", "id": "\\ud800"}', "`id` with half a character"),
        ("{}", "Line 1 of .* has no path"),
    ],
)
def test_json_that_cannot_be_used_is_told_with_its_line(
    prepare: Prepare, folder: Path, text: str, sentence: str
) -> None:
    with pytest.raises(BadManifest, match=sentence):
        prepare(write(folder, text, "m.jsonl"))
