"""CIFAR's python batches: pickles of rows of 3,072 bytes, red, green, blue."""

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trainer.datasets.arrays import LabelledArrays, LabelledImages
from trainer.datasets.pickles import load_arrays
from trainer.errors import SourceError

CHANNELS, SIDE = 3, 32


def read_cifar(path: Path, origin: str) -> LabelledArrays:
    """Read CIFAR-10 from a folder with its batches, or from the archive `cifar-10-python.tar.gz`.

    Raises `SourceError` when a batch is missing or damaged.
    """
    if path.is_dir():
        files = {file.name: file for file in path.iterdir()}
        return _assemble(sorted(files), lambda name: files[name].read_bytes(), origin)
    try:
        with tarfile.open(path) as archive:
            members = {Path(member.name).name: member for member in archive if member.isfile()}

            def read_member(name: str) -> bytes:
                content = archive.extractfile(members[name])
                assert content is not None
                return content.read()

            return _assemble(sorted(members), read_member, origin)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise SourceError(
            f"{path} is neither a folder nor an archive of CIFAR batches ({error})."
        ) from None


def _assemble(names: list[str], read: Callable[[str], bytes], origin: str) -> LabelledArrays:
    training = [name for name in names if name.startswith("data_batch_")]
    if not training or not {"test_batch", "batches.meta"} <= set(names):
        raise SourceError(
            f"{origin} has no CIFAR batches: data_batch_1 and so on, test_batch and batches.meta "
            "are needed."
        )
    batches = [_read_batch(read(name), f"{name} of {origin}") for name in training]
    meta = load_arrays(read("batches.meta"), f"batches.meta of {origin}")
    return LabelledArrays(
        train=LabelledImages(
            images=np.concatenate([batch.images for batch in batches]),
            labels=np.concatenate([batch.labels for batch in batches]),
        ),
        test=_read_batch(read("test_batch"), f"test_batch of {origin}"),
        classes=tuple(str(name) for name in _entry(meta, "label_names", origin)),
        origin=origin,
    )


def _read_batch(content: bytes, origin: str) -> LabelledImages:
    batch = load_arrays(content, origin)
    rows = np.asarray(_entry(batch, "data", origin))
    labels = np.asarray(_entry(batch, "labels", origin), dtype=np.int64)
    if rows.dtype != np.uint8 or rows.shape != (len(labels), CHANNELS * SIDE * SIDE):
        raise SourceError(f"{origin} is damaged: its pixels have the shape {rows.shape}.")
    images = rows.reshape(-1, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1)
    return LabelledImages(images=images, labels=labels)


def _entry(batch: Any, key: str, origin: str) -> Any:
    try:
        return batch[key]
    except (TypeError, KeyError):
        raise SourceError(f"{origin} is damaged: it has no entry {key!r}.") from None
