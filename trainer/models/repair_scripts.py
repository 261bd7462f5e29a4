"""Programs that fix a model file: what a sentence about a fault ends with."""

import json
from collections.abc import Sequence
from pathlib import Path

from imaging.images import Shape

IMPORT = "import keras"


def program(*lines: str) -> str:
    """Lines of Python as the end of a sentence."""
    return "".join(f"\n  {line}" for line in lines)


def rebuild(path: Path, shape: Shape, lines: Sequence[str]) -> str:
    """A program that gives a model another beginning or end, by layers of Keras.

    The lines make `answer` from the `model` and its new input `pixels`, of `shape` (H, W, C).
    """
    return program(
        IMPORT,
        f"model = {loaded(path)}",
        f"pixels = keras.Input({shape})",
        *lines,
        f"keras.Model(pixels, answer).save({quoted(fixed(path))})",
    )


def loaded(path: Path) -> str:
    """The expression that loads a model."""
    return f"keras.saving.load_model({quoted(path)}, compile=False)"


def quoted(path: Path) -> str:
    """A path in Python."""
    return json.dumps(str(path), ensure_ascii=False)


def fixed(path: Path) -> Path:
    """A name for what comes of it."""
    return path.with_name(f"{path.stem}-fixed.keras")
