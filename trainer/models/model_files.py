"""What a file is that is no Keras model as it has to be, and what makes one of it."""

import mmap
import zipfile
from pathlib import Path

from trainer.models.repair_scripts import IMPORT, fixed, loaded, program, quoted

HEAD_BYTES = 512
HDF5, ZIP, GZIP, TFLITE = b"\x89HDF\r\n\x1a\n", b"PK", b"\x1f\x8b", b"TFL3"
LFS = b"version https://git-lfs"
PICKLED = (".pkl", ".pickle", ".joblib")
TORCH = (".pt", ".pth", ".ckpt", ".bin")
OTHERS = {
    ".onnx": "an ONNX model",
    ".tflite": "a TensorFlow Lite model",
    ".pb": "a TensorFlow graph",
    ".safetensors": "a file of weights",
    ".mlmodel": "a Core ML model",
    ".gguf": "a GGUF model",
}
WHOLE_ONLY = (
    "and only whole Keras models are imported: save it where it was made, by "
    'model.save("model.keras") of Keras 3.'
)
KERAS_ONLY = f"{WHOLE_ONLY} One of another framework has to be built in Keras anew."


def find_obstacle(path: Path) -> str | None:
    """Why a file cannot be a `.keras` file, in a sentence about it, if that can be seen."""
    if path.is_dir():
        return of_folder(path)
    if not path.is_file():
        return f"There is no file {path} to import."
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    kind = path.suffix.lower()
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return f"{path} is empty: copy it again."
    if head.startswith(HDF5):
        return of_hdf5(path)
    if head.startswith(ZIP):
        return of_zip(path)
    if head[4:8] == TFLITE:
        return f"{path} is {OTHERS['.tflite']}, {KERAS_ONLY}"
    if kind in TORCH:
        return f"{path} is a PyTorch model, {KERAS_ONLY}"
    if kind in OTHERS:
        return f"{path} is {OTHERS[kind]}, {KERAS_ONLY}"
    if kind in PICKLED or (head[0] == 0x80 and head[1:2] in (b"\2", b"\3", b"\4", b"\5")):
        return f"{path} is pickled, which is code that runs when it is read, {KERAS_ONLY}"
    if head.startswith(LFS):
        return f"{path} is only a pointer of Git LFS: fetch the file with `git lfs pull`."
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return f"{path} is a web page, not a model: download the file itself."
    if text.startswith(b"{") and b'"class_name"' in head:
        return f"{path} is a network without its weights, {WHOLE_ONLY}"
    if head.startswith(GZIP):
        return f"{path} is compressed: unpack it first."
    return f"{path} is no Keras file, which is a zip archive, {KERAS_ONLY}"


def of_folder(path: Path) -> str:
    if not (path / "saved_model.pb").is_file():
        return f"{path} is a folder: name the .keras file."
    if not (path / "keras_metadata.pb").is_file():
        return f"{path} is a SavedModel, a graph without its layers, {WHOLE_ONLY}"
    older = path.with_suffix(".h5")
    return (
        f"{path} is a SavedModel of Keras 2. Make a .keras file of it, with tf-keras "
        "(pip install tf-keras):"
    ) + program(
        "import keras, tf_keras",
        f"model = tf_keras.models.load_model({quoted(path)}, compile=False)",
        f"model.save({quoted(older)})",
        f"{loaded(older)}.save(",
        f"    {quoted(fixed(path))})",
    )


def of_hdf5(path: Path) -> str:
    """What an HDF5 file is: looked for as text, since nothing here parses foreign HDF5."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        whole = content.find(b"model_config") >= 0
    if path.suffix.lower() not in (".h5", ".hdf5"):
        return f"{path} is an HDF5 file: name it {path.with_suffix('.h5').name} and import that."
    if whole:
        return f"{path} is a model in Keras' older format. Make a .keras file of it:" + program(
            IMPORT, f"model = {loaded(path)}", f"model.save({quoted(fixed(path))})"
        )
    return f"{path} holds weights without their network. Build that, and save both:" + program(
        f"model.load_weights({quoted(path)})", f"model.save({quoted(fixed(path))})"
    )


def of_zip(path: Path) -> str | None:
    """What a zip archive is, none if it looks like Keras."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return f"{path} is cut off or damaged: copy it again."
    if "config.json" in names:
        return None
    if any(name.endswith("data.pkl") for name in names):
        return f"{path} is a PyTorch model, {KERAS_ONLY}"
    if inner := [name for name in names if name.endswith((".keras", "saved_model.pb", ".h5"))]:
        return f"{path} is an archive with {inner[0][:80]!r} in it: unpack it and import that."
    return f"{path} is a zip archive, but not of Keras: it has no config.json."
