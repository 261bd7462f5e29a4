"""A file of Keras under the name that Keras tells its format by."""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def named_by_content(path: Path) -> Iterator[Path]:
    """The file as `.keras` or `.h5` by what is in it, whatever it is called."""
    suffix = ".keras" if zipfile.is_zipfile(path) else ".h5"
    if path.suffix == suffix:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="batchsight-") as folder:
        link = Path(folder, "model").with_suffix(suffix)
        link.symlink_to(path.absolute())
        yield link
