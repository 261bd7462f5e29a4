"""Pickles that may hold NumPy arrays and plain values, and nothing that runs code."""

import io
import pickle
from typing import Any

import numpy as np

from trainer.errors import SourceError


def encode_latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into pickles for Python 2."""
    if encoding != "latin1":
        raise ValueError(f"bytes encoded as {encoding}")
    return text.encode("latin1")


ADMITTED = {
    ("_codecs", "encode"): encode_latin1,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    # Where it lay before NumPy 2, and lies now.
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
}


class ArrayUnpickler(pickle.Unpickler):
    """Admits only what arrays are made of."""

    def find_class(self, module: str, name: str) -> Any:
        """Look up what a pickle wants to call; raises `SourceError` for all but arrays."""
        try:
            return ADMITTED[module, name]
        except KeyError:
            raise SourceError(
                f"A pickle asks for {module}.{name}: only NumPy arrays are taken from pickles."
            ) from None


def load_arrays(content: bytes, origin: str) -> Any:
    """Read a pickle of arrays, lists and dictionaries, as Python 2 may have written it.

    Raises `SourceError` for one that asks for anything else, and for bytes that are no pickle.
    """
    try:
        return ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    except SourceError as error:
        raise SourceError(f"{origin} is refused. {error}") from None
    except Exception as error:  # unpickling nonsense raises almost anything
        raise SourceError(f"{origin} cannot be read as a pickle of arrays ({error}).") from None
