"""A published model as a file for other programs."""

import logging
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from storage.models import ModelVersion
from trainer.errors import ExportFailed
from trainer.training import import_tensorflow

if TYPE_CHECKING:
    import keras

SUFFIXES = (".h5", ".keras")
PROBES = 8


def export(version: ModelVersion, path: Path) -> None:
    """Write a model to a `.keras` or `.h5` file and check that it predicts as before.

    It takes raw uint8 pixels (N, H, W, C). Raises `ExportFailed`, or `Corrupt` when the
    published file is damaged.
    """
    suffix = path.suffix  # Keras tells its formats apart by it, in lower case only
    if suffix not in SUFFIXES:
        raise ExportFailed(f"{path} must end in {' or '.join(SUFFIXES)}.")
    if not path.parent.is_dir():
        raise ExportFailed(f"There is no folder {path.parent} to write {path.name} into.")
    version.verify()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new-") as folder:
        written = Path(folder) / f"model{suffix}"
        if suffix == ".keras":
            shutil.copyfile(version.model_path, written)
        else:
            _write_h5(version, written)
        written.replace(path)


def _write_h5(version: ModelVersion, path: Path) -> None:
    """Keras' older format, loaded again to see that it predicts the same."""
    import_tensorflow(seed=0)
    import keras

    model = keras.saving.load_model(version.model_path, compile=False, safe_mode=True)
    logging.getLogger("absl").setLevel(logging.ERROR)  # Keras recommends its newer format
    with warnings.catch_warnings(action="ignore"):
        model.save(path, include_optimizer=False)
        again = keras.saving.load_model(path, compile=False)
    probes = np.random.default_rng(0).integers(
        0, 256, (PROBES, *version.manifest.input_shape), np.uint8
    )
    if not np.array_equal(_predict(model, probes), _predict(again, probes)):
        raise ExportFailed(f"{version} predicts something else when written as {path.suffix}.")


def _predict(model: "keras.Model", images: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict_on_batch(images))
