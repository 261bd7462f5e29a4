"""A published model as a file for other programs."""

import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.models.store import ModelVersion
from trainer.errors import ExportFailed
from trainer.training.train import import_tensorflow

if TYPE_CHECKING:
    import keras

SUFFIXES = (".h5", ".keras", ".onnx")
PROBES = 8
NEWER_OPTIONS: Mapping[str, Any] = {
    "input_axes": None,
    "optional": False,
    "output_axes": None,
    "quantization_config": None,
    "renorm": False,
    "renorm_clipping": None,
    "renorm_momentum": 0.99,
    "synchronized": False,
}
"""Options of layers that Keras 2 does not know, with the value at which they do nothing."""


def export(version: ModelVersion, path: Path) -> None:
    """Write a model to a `.keras`, `.h5` or `.onnx` file, which predicts as before.

    It takes raw uint8 pixels (N, H, W, C). Raises `ExportFailed`, `NotFound` when the version
    cannot be had in that form, or `Corrupt` when the published file is damaged.
    """
    suffix = path.suffix  # Keras tells its formats apart by it, in lower case only
    if suffix not in SUFFIXES:
        raise ExportFailed(f"{path} must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}.")
    if not path.parent.is_dir():
        raise ExportFailed(f"There is no folder {path.parent} to write {path.name} into.")
    version = version.on("onnx" if suffix == ".onnx" else "tensorflow")
    version.verify()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new-") as folder:
        written = Path(folder) / f"model{suffix}"
        if suffix == ".h5":
            _write_h5(version, written)
        else:
            shutil.copyfile(version.model_path, written)
        written.replace(path)


def _write_h5(version: ModelVersion, path: Path) -> None:
    """Keras' older format, readable by Keras 2, loaded again to see that it predicts the same."""
    import_tensorflow(seed=0)
    import keras

    model = keras.saving.load_model(version.model_path, compile=False, safe_mode=True)
    logging.getLogger("absl").setLevel(logging.ERROR)  # Keras recommends its newer format
    with warnings.catch_warnings(action="ignore"):
        model.save(path, include_optimizer=False)
        _write_older_config(path)
        again = keras.saving.load_model(path, compile=False)
    probes = np.random.default_rng(0).integers(
        0, 256, (PROBES, *version.manifest.input_shape), np.uint8
    )
    if not np.array_equal(_predict(model, probes), _predict(again, probes)):
        raise ExportFailed(f"{version} predicts something else when written as {path.suffix}.")


def _write_older_config(path: Path) -> None:
    import h5py  # type: ignore[import-untyped]

    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        file.attrs["model_config"] = json.dumps(older_config(config))


def older_config(node: Any) -> Any:
    """A model's configuration as Keras 2 writes it, which Keras 3 reads as well."""
    if isinstance(node, list):
        return [older_config(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("class_name") == "DTypePolicy":
        return node["config"]["name"]
    if "class_name" in node and "config" in node:
        node = {key: node[key] for key in node if key not in ("module", "registered_name")}
    return {
        "batch_input_shape" if key == "batch_shape" else key: older_config(value)
        for key, value in node.items()
        if key not in NEWER_OPTIONS or value != NEWER_OPTIONS[key]
    }


def _predict(model: "keras.Model", images: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict_on_batch(images))
