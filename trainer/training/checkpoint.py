"""Where a training stands after an epoch: one that was killed goes on from there.

models/<name>/.training-<fingerprint>.npz    until the version is published

The fingerprint is that of everything that decides the outcome, so whoever begins the same training
again finds the file, and going on gives the model that an undisturbed training gives.
"""

import hashlib
import io
import json
import logging
import time
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.files import TEMPORARY_PREFIX, make_folder, write_atomically
from trainer.training.progress import EpochReport

PREFIX = ".training-"
ABANDONED_SECONDS = 7 * 24 * 3600

log = logging.getLogger(__name__)

Arrays = list[NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What is known after the last complete epoch."""

    history: list[EpochReport] = field(default_factory=list)
    state: Arrays = field(default_factory=list)
    """All variables of the network and its optimizer, the states of random numbers included."""
    best: Arrays = field(default_factory=list)
    """The network's weights after its best epoch, where those are kept."""


class Checkpoint:
    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, folder: Path, facts: Mapping[str, object]) -> "Checkpoint":
        """That of the training which these facts decide, in the folder of its model."""
        fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
        return cls(make_folder(folder) / f"{PREFIX}{fingerprint.hexdigest()[:32]}.npz")

    def write(self, progress: Progress) -> None:
        """Replace what is there; whoever dies here leaves the former file."""
        history = json.dumps([report.model_dump() for report in progress.history]).encode()
        buffer = io.BytesIO()
        np.savez(
            buffer,
            allow_pickle=False,
            history=np.frombuffer(history, np.uint8),
            **_numbered("state", progress.state),
            **_numbered("best", progress.best),
        )
        write_atomically(self.path, buffer.getvalue())

    def read(self, shapes: Sequence[tuple[int, ...]]) -> Progress:
        """What was written last; no epochs when there is nothing that could be gone on from.

        `shapes` are those of the state that is to be replaced. A file that is damaged (every
        member has a checksum) or of another network is told in the log and begun anew.
        """
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as members:
                arrays = dict(members)
            history = [EpochReport(**report) for report in json.loads(arrays["history"].tobytes())]
        except FileNotFoundError:
            return Progress()
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            log.warning("%s is damaged (%s): the training begins anew.", self.path, error)
            return Progress()
        state, best = _members("state", arrays), _members("best", arrays)
        if [array.shape for array in state] != list(shapes):
            log.warning("%s is of another network: the training begins anew.", self.path)
            return Progress()
        return Progress(history=history, state=state, best=best)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def sweep_abandoned(models: Path) -> None:
    """Remove what killed trainings of all models left, once nobody has gone on for a week."""
    for prefix in (PREFIX, f"{TEMPORARY_PREFIX}{PREFIX}"):
        for path in models.glob(f"*/{prefix}*"):
            with suppress(FileNotFoundError):  # somebody else has removed it
                if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                    path.unlink()


def _numbered(kind: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {f"{kind}_{number:06d}": array for number, array in enumerate(arrays)}


def _members(kind: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    return [arrays[name] for name in sorted(arrays) if name.startswith(f"{kind}_")]
