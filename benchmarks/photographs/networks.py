"""The networks that classify photographs, published on a storage as a user would."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.photographs.folders import photograph_folder
from storage.models.store import ModelStore

CLASSES = 1_000
LITERT_FILE = "model.tflite"

BUILD = """
import sys
import keras
keras.utils.set_random_seed(0)
getattr(keras.applications, sys.argv[1])(weights=None, classes=int(sys.argv[2])).save(sys.argv[3])
"""
LITERT = """
import sys
import keras
import tensorflow as tf
model = keras.saving.load_model(sys.argv[1], compile=False)
open(sys.argv[2], "wb").write(tf.lite.TFLiteConverter.from_keras_model(model).convert())
"""


@dataclass(frozen=True, kw_only=True)
class Network:
    """One that is measured, and with how many photographs unless told."""

    application: str | None
    """Its name in `keras.applications`, with random weights; none is for the project's own."""
    scale: str = ""
    """What pixels it wants."""
    side: int = 224
    """Of the square that it takes."""
    sizes: Sequence[int]


NETWORKS = {
    "mobilenetv2": Network(application="MobileNetV2", scale="-1..1", sizes=(2_000, 20_000)),
    "efficientnetb0": Network(application="EfficientNetB0", scale="none", sizes=(2_000,)),
    "resnet50": Network(application="ResNet50", scale="caffe", sizes=(500,)),
    "resnet": Network(application=None, sizes=(2_000, 20_000)),
    "cnn": Network(application=None, side=28, sizes=(2_000,)),
}


def publish(name: str, root: Path) -> None:
    """Make the network the champion of its name, unless there is one."""
    if ModelStore(root).champion(name):
        return
    root.mkdir(parents=True, exist_ok=True)
    if not ModelStore(root).numbers(name):
        (_import if NETWORKS[name].application else _train)(name, root)
    _run(root, "-m", "trainer.cli", "promote", "--force", f"{name}@1")


def litert_file(name: str, root: Path) -> Path:
    """The champion converted for LiteRT, beside the storage's folders."""
    path = root / f"{name}.{LITERT_FILE}"
    if not path.exists():
        draft = path.with_suffix(".new")
        _run(root, "-c", LITERT, str(ModelStore(root).resolve(name).folder / "model.keras"), draft)
        draft.rename(path)
    return path


def _import(name: str, root: Path) -> None:
    network = NETWORKS[name]
    file = root / f"{name}.keras"
    _run(root, "-c", BUILD, network.application, CLASSES, file)
    labels = root / "labels.txt"
    labels.write_text("".join(f"class {number}\n" for number in range(CLASSES)))
    options = ("--name", name, "--scale", network.scale, "--labels", labels)
    _run(root, "-m", "trainer.cli", "import", file, *options)
    file.unlink()


def _train(name: str, root: Path) -> None:
    """A class for each of the photographs that all others are made of; an epoch is enough."""
    photographs = sorted(photograph_folder(root, 300).iterdir())
    classes = root / "classes"
    for i, path in enumerate(photographs):
        folder = classes / f"{i % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    data = ("data", "add", "photographs", f"folder:{classes}", "--size", NETWORKS[name].side)
    _run(root, "-m", "trainer.cli", *data, "--interpolation", "bilinear")
    train = ("--dataset", "photographs", "--network", name, "--name", name, "--epochs", 1)
    _run(root, "-m", "trainer.cli", "train", *train)


def _run(root: Path, *arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "BATCHSIGHT_STORAGE": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{arguments}: {done.stderr[-2000:]}{done.stdout[-2000:]}")
