"""A real worker whose predictor is slow, and dies or hangs at marked images.

`celery -A tests.faults.faulty_worker worker`. What it does is told by FAULTY_* in the environment.
"""

import os
import signal
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from imaging.images import Pixels
from storage.models.store import ModelStore, ModelVersion
from storage.settings import storage_settings
from tests.faults.images import HANGER, KILLER
from worker import tasks
from worker.batches.runner import BatchRunner
from worker.celery import app
from worker.runtimes.model_cache import ModelCache, load_predictor

SECONDS_PER_CALL = float(os.environ.get("FAULTY_SECONDS_PER_CALL", "0"))
DIE_BEFORE_RING = os.environ.get("FAULTY_DIE_BEFORE_RING")
"""A file; the process that finds and removes it dies between its result and the acknowledgement."""

if seconds := os.environ.get("FAULTY_VISIBILITY_SECONDS"):
    app.conf.broker_transport_options["visibility_timeout"] = int(seconds)
    app.conf.broker_transport_options["unacked_restore_interval"] = 1


class FaultyPredictor:
    """The real predictor with faults in front."""

    def __init__(self, version: ModelVersion) -> None:
        self._real = load_predictor(version)
        self.shape = self._real.shape
        self.preprocessing = self._real.preprocessing
        self.chunk = int(os.environ.get("FAULTY_CHUNK", self._real.chunk))
        self.chunks = (self.chunk,)

    def __call__(self, pixels: Pixels) -> Any:
        time.sleep(SECONDS_PER_CALL if len(pixels) > 1 else 0)
        flat = pixels.reshape(len(pixels), -1)
        if (flat == KILLER).all(axis=1).any():
            os.kill(os.getpid(), signal.SIGKILL)
        if (flat == HANGER).all(axis=1).any():
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
            time.sleep(3600)
        return self._real(np.asarray(pixels))


@cache
def faulty_runner() -> BatchRunner:
    """The real runner with the faulty predictor."""
    runner = real_runner()
    runner.models = ModelCache(ModelStore(storage_settings().root), load=FaultyPredictor)
    if DIE_BEFORE_RING:
        notify = runner._notify

        def die_or_ring(*arguments: Any) -> object:
            try:
                Path(DIE_BEFORE_RING or "").unlink()
            except FileNotFoundError:
                return notify(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
            return None

        runner._notify = die_or_ring
    return runner


real_runner = tasks.batch_runner
tasks.batch_runner = faulty_runner

__all__ = ["app"]
