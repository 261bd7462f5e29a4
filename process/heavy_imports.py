"""How a program imports large libraries: quietly, and without what they merely like to have.

TensorFlow prints a dozen lines about CPUs and absent GPUs straight to file descriptor 2, before
any setting of its own can stop it. Keras and Arrow import further packages wherever they find
them, for wrappers, plots and conversions: that is a third of TensorFlow's start. And Keras lets the
environment and a file in the user's home choose another backend, number format or channel order.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

KERAS_EXTRAS = ("matplotlib", "pandas", "scipy", "sklearn")
"""What Keras imports if it is there. Nothing of a model needs it."""
KERAS_SETTINGS = {
    "KERAS_BACKEND": "tensorflow",
    "KERAS_HOME": os.devnull,  # no keras.json is found there, nor written
    "TF_USE_LEGACY_KERAS": "0",
}
KERAS_EXPERIMENTS = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED")
"""Variables by which Keras does something else than its caller says."""


@contextmanager
def native_logs_held_back() -> Iterator[None]:
    """Hold back what is written to file descriptor 2; it is shown when the block raises."""
    import tempfile  # a tenth of the time of `producer --help`, which has no use for it

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


class _Blindfold:
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


@contextmanager
def keras_imports() -> Iterator[None]:
    """Import Keras and TensorFlow in the block: quietly, and the same whoever's environment it is.

    What is set here stays set, for what TensorFlow reads late and for programs started from here.
    """
    os.environ.update(KERAS_SETTINGS)
    for name in KERAS_EXPERIMENTS:
        os.environ.pop(name, None)
    with native_logs_held_back(), hidden(*KERAS_EXTRAS):
        yield
