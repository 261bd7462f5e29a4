"""The image files below a folder: which are taken, which are passed over, and why.

A file is taken for its name: a suffix of a supported format, in any case. Where whatever may be an
image is to be taken, one without a suffix is for its first bytes. What is hidden is passed over, so
are folders that other programs leave, pipes and their like, and broken links. Links to files are
taken as files; links to folders are followed only for who asks for it, and never to a folder that
contains the link. Everything passed over is counted by kind.
"""

import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from imaging.decoding.formats import SUFFIXES, begins_like_an_image

PassedOver = Mapping[str, int]
"""How many files, folders and links of a kind: `hidden_files`, say, or `.tif` for images of a
format that is not supported. There are not many kinds, however many files there are."""

KINDS = {
    "hidden_files": ("hidden file", "hidden files"),
    "hidden_folders": ("hidden folder", "hidden folders"),
    "program_folders": ("folder of another program", "folders of other programs"),
    "linked_folders": ("link to a folder", "links to folders"),
    "looping_links": ("link to a folder that contains it", "links to folders that contain them"),
    "broken_links": ("broken link", "broken links"),
    "special_files": ("pipe, socket or device", "pipes, sockets or devices"),
    "unclassed_images": ("image in no class folder", "images in no class folder"),
    "other_files": ("other file", "other files"),
}
"""The kinds that are no suffix, and how one and several are called, in the order of telling."""

OTHER_FORMATS = (
    "jxl jp2 j2k jpf jpx jxr svg svgz eps ai psd xcf ico icns tga "
    "pcx dds exr hdr qoi ppm pgm pbm pnm pfm xbm xpm dcm fits "
    "raw dng cr2 cr3 crw nef nrw arw srf sr2 orf rw2 raf pef srw x3f 3fr"
)
UNSUPPORTED = frozenset(f".{name}" for name in OTHER_FORMATS.split())
"""What images of formats that are not supported are called. They are counted suffix by suffix."""

PROGRAM_FOLDERS = frozenset(
    {"__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "lost+found"}
    | {"system volume information", "__pycache__"}
)
"""Folders of archives, network storage and file systems, in lower case. Images in them are copies,
thumbnails or rubbish."""

MOST_NAMED = 3
"""Other files whose names are told."""

FOLDER = "\0"
"""Stands behind the name of a folder that is still to be listed. No name contains it, and all other
characters come after it: a folder comes before the files whose names begin like its own."""


class Listing(NamedTuple):
    """The image files below a folder."""

    files: list[str]
    """Relative paths, folder by folder and sorted by name in each: some 90 bytes each."""
    linked: frozenset[str]
    """Those of them that are links or were reached through one."""
    passed_over: PassedOver
    other_files: list[str]
    """The first few of those passed over as `other_files`."""


def list_images(folder: Path, *, follow_links: bool = False, strict: bool = False) -> Listing:
    """The image files below `folder`, in linked folders too with `follow_links`.

    With `strict` those of formats that are not supported are listed as well, and files without a
    suffix that begin like an image. Raises `OSError`, naming the folder, when one cannot be read.
    """
    files: list[str] = []
    linked: set[str] = set()
    passed_over: Counter[str] = Counter()
    named: list[str] = []
    todo = [FOLDER]
    while todo:
        path = todo.pop()
        if not path.endswith(FOLDER):
            files.append(path)
            continue
        below = path.removesuffix(FOLDER)
        prefix = f"{below}/" if below else ""
        images, folders, others = [], [], []
        with os.scandir(folder / below) as entries:
            for entry in entries:
                kind = kind_of(entry, strict=strict)
                if kind == "image":
                    images.append(prefix + entry.name)
                elif kind == "linked_image":
                    images.append(prefix + entry.name)
                    linked.add(images[-1])
                elif kind == "folder":
                    folders.append(prefix + entry.name + FOLDER)
                elif kind != "linked_folders" or not follow_links:
                    passed_over[kind] += 1
                    if kind == "other_files" and len(named) < MOST_NAMED:
                        others.append(prefix + entry.name)
                elif contains_itself(Path(entry.path)):
                    passed_over["looping_links"] += 1
                else:
                    folders.append(prefix + entry.name + FOLDER)
                    linked.add(folders[-1])
        named += sorted(others)[: MOST_NAMED - len(named)]
        if path in linked:
            linked.update(images, folders)
        if folders:
            todo += sorted(images + folders, reverse=True)
        else:
            files += sorted(images)
    return Listing(files, frozenset(linked.intersection(files)), passed_over, named)


def subfolders(folder: Path, *, follow_links: bool = False) -> list[str]:
    """Names of the folders in `folder` that `list_images` looks into, sorted."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            kind = kind_of(entry)
            if kind == "folder" or (
                kind == "linked_folders" and follow_links and not contains_itself(Path(entry.path))
            ):
                found.append(entry.name)
    return sorted(found)


def kind_of(entry: "os.DirEntry[str]", *, strict: bool = False) -> str:
    """`image`, `linked_image` or `folder`, or the kind of what is passed over."""
    name = entry.name
    hidden = name[0] == "."
    if entry.is_file(follow_symlinks=False):
        return "hidden_files" if hidden else kind_of_file(entry, strict=strict)
    if entry.is_dir(follow_symlinks=False):
        if hidden:
            return "hidden_folders"
        return "program_folders" if name.lower() in PROGRAM_FOLDERS else "folder"
    if hidden:
        return "hidden_files"
    try:
        mode = entry.stat().st_mode
    except OSError:  # gone, not ours to look at, or a link to itself
        return "broken_links"
    if stat.S_ISDIR(mode):
        return "linked_folders"
    if not stat.S_ISREG(mode):
        return "special_files"
    kind = kind_of_file(entry, strict=strict)
    return "linked_image" if kind == "image" else kind


def kind_of_file(entry: "os.DirEntry[str]", *, strict: bool = False) -> str:
    """`image`, or the kind of a file that is passed over, by its suffix."""
    name = entry.name
    suffix = name[name.rfind(".") :].lower()
    if suffix in SUFFIXES or (strict and suffix in UNSUPPORTED):
        return "image"
    if strict and "." not in name and begins_like_an_image(entry.path):
        return "image"
    return suffix if suffix in UNSUPPORTED else "other_files"


def contains_itself(link: Path) -> bool:
    """Whether a link leads to a folder that it lies in, on the way by which it was reached."""
    target = link.resolve()
    return any(above.resolve().is_relative_to(target) for above in link.parents)


def describe_passed_over(passed_over: PassedOver, other_files: Sequence[str] = ()) -> str:
    """`114 .tif (no supported format), 3 hidden files`; empty when nothing was passed over.

    `other_files` names the first of these.
    """
    formats = [f"{passed_over[kind]:,} {kind}" for kind in sorted(passed_over.keys() - KINDS)]
    parts = [f"{', '.join(formats)} (no supported format)"] if formats else []
    for kind, (one, several) in KINDS.items():
        if count := passed_over.get(kind, 0):
            parts.append(f"{count:,} {one if count == 1 else several}")
    if other_files:
        more = passed_over["other_files"] - len(other_files)
        named = ", ".join(
            os.fsencode(name).decode(errors="backslashreplace") for name in other_files
        )
        parts[-1] += f" ({named}{f' and {more:,} more' if more else ''})"
    return ", ".join(parts)


def is_meant_as_image(file: Path) -> bool:
    """Whether a file that somebody names alone is an image, by its suffix or by its content."""
    if not file.is_file():
        return False
    return file.suffix.lower() in SUFFIXES | UNSUPPORTED or begins_like_an_image(file)
