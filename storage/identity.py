"""Which storage this is: a random id among its jobs, the same for all who share them.

Not in the root: `datasets`, `models` and `jobs` may be mounts of their own, and jobs are what every
program can write.
"""

from pathlib import Path
from uuid import uuid4

from storage.errors import Corrupt
from storage.files import make_folder, share, unwritable

ID_FILE = "jobs/.storage-id"


def storage_id(root: Path) -> str:
    """The id below `root`, created on first use.

    Two programs with different ids see different folders. Raises `StorageUnwritable`, or
    `Corrupt` when the file was left empty.
    """
    path = root / ID_FILE
    make_folder(path.parent)
    try:
        if not path.exists():
            try:
                with path.open("x", encoding="ascii") as file:
                    share(file.fileno(), path.parent)
                    file.write(uuid4().hex)
            except FileExistsError:
                pass  # another program came first; its id counts
        known = path.read_text("ascii").strip()
    except OSError as error:
        raise unwritable(root, error) from error
    if not known:
        raise Corrupt(f"The file {path} is empty: remove it, and it is created anew.")
    return known
