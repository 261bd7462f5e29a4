"""True labels that people gave to images of a job afterwards.

    jobs/<id>/labels/<n>.npz    position (K,) and label (K,), one file per change

Later files win. A job's own labels, results and records stay what they were; what counts right
and wrong predictions takes these labels in, see `labels`.
"""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storage.datasets.store import Labels
from storage.errors import Corrupt
from storage.files import locked, write_atomically
from storage.jobs.inputs import UNLABELLED
from storage.jobs.results import DAMAGE
from storage.jobs.stored_job import StoredJob

LABELS = "labels"
"""The folder of a job that they lie in."""


def has_corrections(stored: StoredJob) -> bool:
    """Whether anybody gave labels to a job's images."""
    return bool(_files(stored))


def read_corrections(stored: StoredJob) -> Labels:
    """Class indices (N,) of a job's images, `UNLABELLED` where nobody gave one.

    Raises `Corrupt` for a damaged file.
    """
    job = stored.job
    labels = np.full(job.total, UNLABELLED, np.int32)
    for path in _files(stored):
        try:
            with np.load(path, allow_pickle=False) as members:
                positions = members["position"]
                if positions.size and positions.min() < 0:
                    raise IndexError("a position is negative")
                labels[positions] = members["label"]
        except (*DAMAGE, IndexError) as error:
            raise _damaged(path, str(error)) from None
    if len(labels) and not UNLABELLED <= labels.min() <= labels.max() < len(job.labels):
        raise _damaged(stored.folder / LABELS, "a label is no class of the model")
    return labels


def add_corrections(
    stored: StoredJob, positions: NDArray[np.int64], labels: Labels
) -> tuple[int, int]:
    """Give labels to images, each once; returns how many are new and how many have changed.

    What is known already is not written again.
    """
    folder = stored.folder / LABELS
    with locked(folder):
        before = read_corrections(stored)[positions]
        news = before != labels
        if news.any():
            number = max((int(path.stem) for path in _files(stored)), default=0) + 1
            content = io.BytesIO()
            np.savez(content, position=positions[news], label=labels[news])
            write_atomically(folder / f"{number:06d}.npz", content.getvalue())
    new = int((news & (before == UNLABELLED)).sum())
    return new, int(news.sum()) - new


def _files(stored: StoredJob) -> list[Path]:
    return sorted((stored.folder / LABELS).glob("[0-9]*.npz"))


def _damaged(path: Path, fault: str) -> Corrupt:
    return Corrupt(
        f"The labels {path} are damaged ({fault}): remove them and run `producer label` again."
    )
