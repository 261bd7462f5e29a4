import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import BadName, Corrupt, StorageUnwritable, UnsafePath
from storage.files import (
    check_name,
    draft_folder,
    list_folders,
    locked,
    make_folder,
    read_inside,
    read_regular,
    resolve_inside,
    sha256_of,
    sync_tree,
    touch,
    write_atomically,
)
from tests.builders import as_any
from tests.odd_files import make_socket
from tests.processes import REPOSITORY


class Crash(BaseException):
    """What ends a process in the middle of a write."""


def names_in(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


@pytest.mark.parametrize("durable", [True, False])
def test_a_written_file_holds_the_content_and_leaves_nothing_beside_it(
    tmp_path: Path, durable: bool
) -> None:
    write_atomically(tmp_path / "file", b"old", durable=durable)
    write_atomically(tmp_path / "file", b"new", durable=durable)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert names_in(tmp_path) == {"file"}


def test_a_write_that_fails_keeps_the_old_file_and_removes_its_temporary_one(
    tmp_path: Path,
) -> None:
    write_atomically(tmp_path / "file", b"old")
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "file", as_any("not bytes"))
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names_in(tmp_path) == {"file"}


def test_a_writer_that_is_killed_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    program = """
import resource, signal, sys
from pathlib import Path
from storage.files import write_atomically
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
write_atomically(Path(sys.argv[1]), b"new" * 100_000)
"""
    killed = subprocess.run([sys.executable, "-c", program, str(path)], cwd=REPOSITORY, check=False)
    assert killed.returncode == -signal.SIGXFSZ
    assert path.read_bytes() == b"old"
    (leftover,) = names_in(tmp_path) - {"file"}
    assert leftover.startswith(".new-"), "readers would take it for a file"


def test_a_symlink_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"untouched")
    (tmp_path / "file").symlink_to(tmp_path / "elsewhere")
    write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "elsewhere").read_bytes() == b"untouched"
    assert (tmp_path / "file").read_bytes() == b"new"


def test_the_digest_is_that_of_the_sha256_standard(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


@pytest.mark.parametrize("relative", ["a.png", "folder/a.png", "folder", "./folder//a.png"])
def test_a_path_inside_the_root_is_resolved(tmp_path: Path, relative: str) -> None:
    (tmp_path / "folder").mkdir()
    assert resolve_inside(tmp_path, relative) == (tmp_path / relative).resolve()


@pytest.mark.parametrize(
    "relative",
    ["/etc/passwd", "..", "../a", "a/../../b", "a/../b", "", ".", "a\0b", "//a", "/", "\ud800"],
)
def test_a_path_that_could_leave_the_root_is_refused(tmp_path: Path, relative: str) -> None:
    with pytest.raises(UnsafePath):
        resolve_inside(tmp_path, relative)


def test_a_symlink_out_of_the_root_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_text("secret")
    (root / "file").symlink_to(tmp_path / "secret" / "file")
    (root / "folder").symlink_to("../secret")
    (root / "chain").symlink_to("folder")
    for relative in ("file", "folder", "folder/file", "chain/file", "chain/new"):
        with pytest.raises(UnsafePath, match="symbolic link"):
            resolve_inside(root, relative)


def test_a_symlink_that_stays_inside_is_followed_even_when_the_root_is_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to("real")
    (tmp_path / "real" / "file").write_text("inside")
    (tmp_path / "real" / "link").symlink_to("file")
    assert resolve_inside(tmp_path / "root", "link").read_text() == "inside"


def test_symlinks_that_lead_in_a_circle_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises((UnsafePath, OSError)):  # by version of Python
        resolve_inside(tmp_path, "a").read_bytes()


def test_a_pipe_is_refused_since_reading_it_would_never_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnsafePath, match="neither a regular file nor a folder"):
        resolve_inside(tmp_path, "pipe")


@given(st.text(st.sampled_from("/.\\ab\0\n~") | st.characters(), max_size=30))
def test_no_text_whatever_resolves_to_a_place_outside(relative: str) -> None:
    root = Path(__file__).parent
    try:
        resolved = resolve_inside(root, relative)
    except UnsafePath:
        return
    assert resolved.is_relative_to(root.resolve())
    assert resolved != root.resolve()


@pytest.mark.parametrize("name", ["mnist", "a", "A-b_c.d", "0", "x" * 100])
def test_a_good_name_is_returned(name: str) -> None:
    assert check_name(name, "name") == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "-x", "a/b", "a b", "x" * 101, "a\n", "ä", "a\0"]
)
def test_a_name_that_is_no_folder_name_is_refused_with_the_way_out(name: str) -> None:
    with pytest.raises(BadName, match="is no valid job id: use up to 100 letters"):
        check_name(name, "job id")


def test_a_draft_that_is_not_renamed_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(Crash), draft_folder(tmp_path) as draft:
        (draft / "half").write_text("half")
        raise Crash
    assert names_in(tmp_path) == set()


def test_a_draft_that_is_renamed_stays(tmp_path: Path) -> None:
    with draft_folder(tmp_path / "new" / "parent") as draft:
        (draft / "whole").write_text("whole")
        draft.rename(draft.with_name("done"))
    assert names_in(tmp_path / "new" / "parent") == {"done"}
    assert (tmp_path / "new" / "parent" / "done" / "whole").read_text() == "whole"


def test_listing_shows_finished_folders_only(tmp_path: Path) -> None:
    for name in ("b", "a", ".new-abc", "lost+found"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    assert list_folders(tmp_path) == ["a", "b"]
    assert list_folders(tmp_path / "missing") == []


def test_a_root_that_cannot_be_written_is_one_sentence_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnwritable, match=r"Not a directory.*BATCHSIGHT_STORAGE"):
        make_folder(tmp_path / "file" / "jobs")
    with (
        pytest.raises(StorageUnwritable, match="BATCHSIGHT_STORAGE"),
        draft_folder(tmp_path / "file"),
    ):
        pass


# Permissions


@pytest.fixture
def private_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def mode_of(path: Path) -> str:
    return oct(path.stat().st_mode & 0o7777)


@pytest.mark.parametrize(
    ("folder", "file"), [(0o777, 0o666), (0o2775, 0o664), (0o755, 0o644), (0o700, 0o600)]
)
@pytest.mark.usefixtures("private_umask")
def test_what_is_made_gets_the_permissions_of_its_folder_whatever_the_umask(
    tmp_path: Path, folder: int, file: int
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    root.chmod(folder)
    write_atomically(root / "file", b"content")
    touch(root / "clock")
    touch(root / "clock")
    make_folder(root / "folder")
    with draft_folder(root) as draft:
        (draft / "inner").mkdir()
        (draft / "inner" / "file").write_bytes(b"content")
        sync_tree(draft)
        draft.rename(root / "draft")
    with locked(root / "locked"):
        pass
    made = {path for path in root.rglob("*") if path.name != "root"}
    assert {mode_of(path) for path in made if path.is_file()} == {oct(file)}
    assert {mode_of(path) for path in made if path.is_dir()} == {oct(folder)}
    assert len(made) == 8


@pytest.mark.usefixtures("private_umask")
def test_the_umask_decides_who_may_use_a_new_root(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    make_folder(tmp_path / "root" / "jobs")
    assert mode_of(tmp_path / "root") == mode_of(tmp_path / "root" / "jobs") == "0o700"


@pytest.mark.usefixtures("private_umask")
def test_the_sticky_bit_is_not_handed_on(tmp_path: Path) -> None:
    """In such a folder nobody could replace what another user has written."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root").chmod(0o1777)
    make_folder(tmp_path / "root" / "jobs")
    assert mode_of(tmp_path / "root" / "jobs") == "0o777"


# What opens and then fails


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("what", ["folder", "pipe", "socket", "large"])
def test_what_cannot_be_read_as_a_file_leaves_none_open(tmp_path: Path, what: str) -> None:
    path = tmp_path / "image.png"
    match what:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "socket":
            make_socket(path)
        case "large":
            path.write_bytes(b"x" * 11)
    before = open_files()
    for _ in range(3):
        with pytest.raises((UnsafePath, OSError)):
            read_inside(tmp_path, "image.png", 10, {})
    if what != "large":
        with pytest.raises(Corrupt, match=r"image\.png is not a regular file: remove it"):
            read_regular(path)
    assert open_files() == before
