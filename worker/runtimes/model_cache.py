"""The model versions a worker process keeps loaded."""

import gc
import logging
from collections import OrderedDict
from collections.abc import Callable

from storage.errors import StorageError
from storage.models.store import ModelPin, ModelStore, ModelVersion, check_archive
from worker.errors import ModelRefused
from worker.runtimes.installed import has_tensorflow
from worker.runtimes.predictor import Predictor
from worker.runtimes.startup import start_tensorflow

log = logging.getLogger(__name__)

KEPT_VERSIONS = 2
"""The present champion's and the one before: running jobs and new ones both find theirs."""


class ModelCache:
    """Loads each pinned version once and keeps the latest two."""

    def __init__(
        self, store: ModelStore, load: Callable[[ModelVersion], Predictor] | None = None
    ) -> None:
        self._store = store
        self._load = load or load_predictor
        self._loaded: OrderedDict[ModelPin, Predictor] = OrderedDict()

    def __contains__(self, pin: ModelPin) -> bool:
        """Whether it is loaded already."""
        return pin in self._loaded

    def get(self, pin: ModelPin) -> Predictor:
        """The predictor of exactly this version.

        The new version is loaded before an old one is dropped, and only after its digest was
        checked. Raises `NotFound`, `Corrupt` or `ModelRefused`; other versions stay loaded.
        """
        if pin in self._loaded:
            self._loaded.move_to_end(pin)
            return self._loaded[pin]
        predictor = self._load(self._store.pinned(pin))
        self._loaded[pin] = predictor
        if len(self._loaded) > KEPT_VERSIONS:
            self._loaded.popitem(last=False)
            gc.collect()  # Keras layers and their graph refer to each other
        return predictor

    def warm_champions(self) -> list[str]:
        """Load the champions that were promoted last; returns what could be loaded."""
        loaded = []
        for name in self._latest_promoted():
            try:
                version = self._store.resolve(name)
                if version.runtime == "tensorflow" and not has_tensorflow():
                    continue  # its jobs go to others
                self.get(version.pin)
                loaded.append(str(version))
            except (StorageError, ModelRefused, OSError) as error:
                log.warning("Not loaded ahead of its first job: %s", error)
        return loaded

    def _latest_promoted(self) -> list[str]:
        """The names of their models."""
        latest = []
        for name in self._store.names():
            try:
                if champion := self._store.champion(name):
                    latest.append((champion.promoted_at, name))
            except (StorageError, OSError) as error:
                log.warning("Not loaded ahead of its first job: %s", error)
        return [name for _, name in sorted(latest, reverse=True)[:KEPT_VERSIONS]]


def load_predictor(version: ModelVersion) -> Predictor:
    """Load a verified version from storage in its runtime, which is imported for the first one."""
    path, manifest = version.model_path, version.manifest
    about = manifest.input_shape, len(manifest.labels), manifest.preprocessing
    if version.runtime == "onnx":
        from worker.runtimes.onnx import OnnxPredictor

        return OnnxPredictor(path, *about, chunk=version.metrics.chunk if version.metrics else None)
    check_archive(path, str(version))
    start_tensorflow()

    from worker.runtimes.tensorflow import TensorFlowPredictor

    return TensorFlowPredictor(path, *about)
