"""How a program imports large libraries: quietly, and without what they merely like to have.

TensorFlow prints a dozen lines about CPUs and absent GPUs straight to file descriptor 2, before
any setting of its own can stop it. Keras and Arrow import further packages wherever they find
them, for wrappers, plots and conversions: that is a third of TensorFlow's start.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder

KERAS_EXTRAS = ("matplotlib", "pandas", "scipy", "sklearn")
"""What Keras imports if it is there. Nothing of a model needs it."""


@contextmanager
def native_logs_held_back() -> Iterator[None]:
    """Hold back what is written to file descriptor 2; it is shown when the block raises."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


class _Blindfold(MetaPathFinder):
    """Tells the import system that packages are not there."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Stop the search for a hidden package; for others it goes on."""
        if fullname in self._packages:
            raise ModuleNotFoundError(f"{fullname} is hidden here.", name=fullname)


@contextmanager
def hidden(*packages: str) -> Iterator[None]:
    """Let imports in the block not find these packages, unless they are imported already."""
    blindfold = _Blindfold(packages)
    sys.meta_path.insert(0, blindfold)
    try:
        yield
    finally:
        sys.meta_path.remove(blindfold)
