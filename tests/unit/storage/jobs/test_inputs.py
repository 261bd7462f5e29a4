import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from imaging.errors import ImageError
from storage.errors import Corrupt
from storage.files import FileStamp
from storage.jobs.inputs import (
    UNLABELLED,
    ImageFile,
    Pack,
    read_columns,
    read_pack,
    write_pack,
)
from tests.builders import encode, image_file, image_files, images_of

CONTENT = encode(images_of([7])[0])


def stored_file(root: Path, name: str = "a.png") -> ImageFile:
    (root / name).write_bytes(CONTENT)
    stamp = FileStamp.of((root / name).stat())
    return image_file(CONTENT, sha256=None, content=None, stored=name, stamp=stamp)


def stored_file_of_an_earlier_version(root: Path) -> ImageFile:
    """Earlier versions noted the digest of every file."""
    return image_file(stored_file(root).read(root, max_bytes=1_000), content=None, stored="a.png")


def test_a_pack_gives_back_its_files_in_order(tmp_path: Path) -> None:
    files = [
        image_file(CONTENT, 0, label=2),
        image_file(CONTENT, 1, content=None, stored="datasets/a.png"),
        image_file(
            CONTENT, 3, sha256=None, content=None, stored="b.jpg", stamp=FileStamp(5, 2**60)
        ),
        image_file(b"", 2, content=None, refused="file too large", path="ü/图.png"),
    ]
    write_pack(tmp_path / "pack.arrow", image_files(files))
    assert list(read_pack(tmp_path / "pack.arrow")) == files
    pack = Pack(tmp_path / "pack.arrow")
    assert [pack.image(i) for i in range(4)] == files


def test_a_pack_of_an_earlier_version_has_no_stamps(tmp_path: Path) -> None:
    files = [image_file(CONTENT, 1), stored_file_of_an_earlier_version(tmp_path)]
    path = tmp_path / "pack.arrow"
    write_pack(path, image_files(files))
    with pa.ipc.open_file(path) as reader:
        table = reader.read_all().drop_columns(["size", "mtime_ns"])
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    assert list(read_pack(path)) == files
    assert Pack(path).image(1).read(tmp_path, max_bytes=1_000) == CONTENT


def test_columns_are_read_without_the_bytes(tmp_path: Path) -> None:
    files = [image_file(CONTENT, 5, label=2), image_file(CONTENT, 3)]
    write_pack(tmp_path / "pack.arrow", image_files(files))
    columns = read_columns(tmp_path / "pack.arrow")
    assert columns.ids == ["image-5", "image-3"]
    assert columns.paths == ["folder/5.png", "folder/3.png"]
    assert columns.labels.tolist() == [2, UNLABELLED]
    assert columns.labels.dtype == np.int32


def test_the_same_files_give_the_same_pack(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_pack(tmp_path / name, image_files([image_file(CONTENT, 0), image_file(CONTENT, 1)]))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_torn_or_missing_pack_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "pack.arrow"
    with pytest.raises(Corrupt, match=r"pack\.arrow are damaged or missing"):
        read_pack(path)
    write_pack(path, image_files([image_file(CONTENT)]))
    content = path.read_bytes()
    for length in (0, 5, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        for read in (read_pack, read_columns):
            with pytest.raises(Corrupt):
                read(path)


def test_packed_and_stored_bytes_are_read_alike(tmp_path: Path) -> None:
    assert image_file(CONTENT).read(tmp_path, max_bytes=1_000) == CONTENT
    assert stored_file(tmp_path).read(tmp_path, max_bytes=1_000) == CONTENT


def test_a_file_refused_at_submission_keeps_its_reason(tmp_path: Path) -> None:
    file = image_file(b"", content=None, refused="no such file")
    with pytest.raises(ImageError, match=r"^no such file$"):
        file.read(tmp_path, max_bytes=1_000)


@pytest.mark.parametrize("make", [stored_file, stored_file_of_an_earlier_version])
def test_a_stored_file_that_was_replaced_is_refused(
    tmp_path: Path, make: Callable[[Path], ImageFile]
) -> None:
    file = make(tmp_path)
    (tmp_path / "a.png").write_bytes(encode(images_of([8])[0]))
    with pytest.raises(ImageError, match="has changed since the job was submitted"):
        file.read(tmp_path, max_bytes=1_000)


@pytest.mark.parametrize(("bytes_more", "ns_more"), [(1, 0), (0, 1), (0, -1)])
def test_a_stored_file_of_another_size_or_time_has_changed(
    tmp_path: Path, bytes_more: int, ns_more: int
) -> None:
    file = stored_file(tmp_path)
    path = tmp_path / "a.png"
    at = path.stat().st_mtime_ns + ns_more
    path.write_bytes(CONTENT + bytes(bytes_more))
    os.utime(path, ns=(at, at))
    with pytest.raises(ImageError, match="has changed since the job was submitted"):
        file.read(tmp_path, max_bytes=1_000)


def test_a_packed_file_that_does_not_match_its_digest_is_refused(tmp_path: Path) -> None:
    file = image_file(CONTENT, sha256=hashlib.sha256(b"other").digest())
    with pytest.raises(ImageError, match="does not match its digest"):
        file.read(tmp_path, max_bytes=1_000)


def test_a_batch_gives_and_refuses_its_files_as_each_of_them_does(tmp_path: Path) -> None:
    batch = image_files(
        [
            image_file(CONTENT),
            stored_file(tmp_path),
            image_file(CONTENT, sha256=hashlib.sha256(b"other").digest()),
            image_file(b"", content=None, refused="no such file"),
            image_file(CONTENT, content=None, stored="gone.png"),
        ]
    )
    outcomes: list[object] = []
    for position in range(len(batch)):
        try:
            outcomes.append(batch.read(position, tmp_path, max_bytes=1_000, folders={}))
        except ImageError as error:
            outcomes.append(str(error))
    assert outcomes == [
        CONTENT,
        CONTENT,
        "packed file does not match its digest: the pack is damaged",
        "no such file",
        "file cannot be read: No such file or directory",
    ]


def test_a_stored_file_that_has_gone_is_refused(tmp_path: Path) -> None:
    file = stored_file(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(ImageError, match="cannot be read: No such file"):
        file.read(tmp_path, max_bytes=1_000)


def test_a_stored_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    file = stored_file(tmp_path)
    assert file.read(tmp_path, max_bytes=len(CONTENT)) == CONTENT
    with pytest.raises(ImageError, match=f"the limit is {len(CONTENT) - 1} bytes"):
        file.read(tmp_path, max_bytes=len(CONTENT) - 1)


def test_a_stored_path_never_leads_out_of_storage(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.png").write_bytes(CONTENT)
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    os.mkfifo(root / "pipe.png")
    for stored in ("../secret.png", "link.png", str(tmp_path / "secret.png"), "", "pipe.png"):
        file = image_file(CONTENT, content=None, stored=stored)
        with pytest.raises(ImageError, match="The path"):
            file.read(root, max_bytes=1_000)


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ImageError, match="cannot be read: Is a directory"):
        image_file(CONTENT, content=None, stored="folder").read(tmp_path, max_bytes=10_000)
