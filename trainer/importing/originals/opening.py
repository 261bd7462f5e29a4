"""Which kind of file a foreign model is, and who opens it."""

import zipfile
from pathlib import Path

from process.heavy_imports import keras_imports
from storage.models.architecture import Architecture, name_of, parts, settings
from storage.models.store import check_archive
from trainer.errors import ImportFailed
from trainer.importing.model_files import find_obstacle
from trainer.importing.originals.original import Original

HDF5 = b"\x89HDF\r\n\x1a\n"


def open_original(path: Path) -> Original:
    """Load a model file or folder; raises `ImportFailed` or `Corrupt`."""
    if obstacle := find_obstacle(path):
        raise ImportFailed(obstacle)
    if path.suffix.lower() != ".onnx":
        start_keras()
    if path.is_dir():
        from trainer.importing.originals.tensorflow_graph import open_saved_model

        return open_saved_model(path)
    if path.suffix.lower() == ".onnx":
        from trainer.importing.originals.onnx_original import OnnxOriginal

        return OnnxOriginal.read(path)
    if zipfile.is_zipfile(path):
        check_archive(path, str(path))
        architecture = Architecture.read(path, str(path))
    else:
        architecture = hdf5_architecture(path)
    for part in parts(architecture.config):
        if settings(part).get("stateful"):
            raise ImportFailed(
                f"{path} is not published: its layer {name_of(part)!r} is stateful, so that an "
                "image's answer depends on those before it. Build it with stateful=False, give it "
                "these weights and save that."
            )
    if (architecture.keras or "2").startswith("2"):
        from trainer.importing.originals.tensorflow_graph import open_keras_2

        return open_keras_2(path, architecture.keras)
    from trainer.importing.originals.keras_original import KerasOriginal

    return KerasOriginal(path, architecture)


def start_keras() -> None:
    """Import Keras and TensorFlow quietly, before a module that uses them does."""
    with keras_imports():
        import keras  # noqa: F401
        import tensorflow  # noqa: F401


def hdf5_architecture(path: Path) -> Architecture:
    """What an `.h5` file of Keras says of its network."""
    import json

    import h5py  # type: ignore[import-untyped]

    try:
        with h5py.File(path, "r") as file:
            config = json.loads(file.attrs["model_config"])
            version = file.attrs.get("keras_version")
    except (OSError, KeyError, ValueError, RecursionError) as error:
        raise ImportFailed(f"{path} cannot be read: {error}.") from None
    return Architecture(config, version.decode() if isinstance(version, bytes) else version)
