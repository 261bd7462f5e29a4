"""The file that a line of a manifest means: below the manifest's folder, however it is spelled."""

import re
from collections.abc import Callable
from pathlib import Path
from unicodedata import normalize

from storage.errors import BadManifest, UnsafePath
from storage.files import resolve_inside
from storage.manifests.table_reader import shorten

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:(//|.*;base64,)", re.IGNORECASE)
WINDOWS_ROOT = re.compile(r"[a-z]:[\\/]|\\\\", re.IGNORECASE)


def find_image(path: str, folder: Path, where: str, note: Callable[[str], None]) -> Path:
    """The file that a path means; it need not be an image.

    `where` names the line and `note` takes what was read otherwise than written. Raises
    `BadManifest`.
    """
    shown = repr(shorten(path))
    if ADDRESS.match(path):
        raise BadManifest(
            f"{where} names {shown}, an address: fetch the images and name the files."
        )
    if WINDOWS_ROOT.match(path):
        raise BadManifest(
            f"{where} names {shown}, a path of a Windows machine: name files relative to the "
            "manifest's folder."
        )
    for written, change in spellings(path):
        found = inside(written, folder, where)
        if found and found.is_file():
            if change:
                note(change)
            return found
    found = inside(path, folder, where)
    if found is None:
        raise BadManifest(
            f"{where} names {shown}: paths must lead to files inside the manifest's folder, "
            "relative to it."
        )
    if found.is_dir():
        raise BadManifest(
            f"{where} names {shown}, a folder: name its images line by line, or give the folder."
        )
    hint = "; / and not a backslash parts folders" if "\\" in path else ""
    raise BadManifest(f"{where} names {shown}, but there is no such file{hint}.")


def inside(path: str, folder: Path, where: str) -> Path | None:
    """What a path names in the manifest's folder, whether it exists or not; none outside it."""
    try:
        if path.startswith("/"):
            path = str(Path(path).resolve().relative_to(folder.resolve()))
        return resolve_inside(folder, path)
    except (UnsafePath, ValueError):
        return None
    except OSError as error:
        raise BadManifest(
            f"{where} names {shorten(path)!r}, which cannot be read ({error.strerror})."
        ) from None


def spellings(path: str) -> list[tuple[str, str]]:
    """How a path may be meant, most literally first, and what to say of it."""
    found = [(path, "")]
    if "\\" in path:
        found.append((path.replace("\\", "/"), "backslashes are read as slashes"))
    if not path.isascii():
        note = "names are written in another Unicode form (NFC, NFD) than those of the files"
        forms = [normalize(form, way) for way, _ in found for form in ("NFC", "NFD")]
        found += [(form, note) for form in forms]
    return found
