"""For tests of what several users share: a folder open to all, and being nobody for a while."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@contextmanager
def nobody() -> Iterator[None]:
    """The block runs as another user than root. What it needs must have been imported."""
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder that everybody may use, below none that others may not enter."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder)
        path.chmod(0o777)
        yield path


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """The block makes files and folders with this umask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
