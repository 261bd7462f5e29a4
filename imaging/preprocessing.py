"""How a picture becomes a model's pixels, whatever its size: part of every version's manifest."""

from typing import Literal

from pydantic import BaseModel

Resize = Literal["stretch"]
Interpolation = Literal[
    "antialias",
    "antialias-bicubic",
    "antialias-lanczos",
    "bilinear",
    "nearest",
    "bicubic",
    "area",
    "lanczos3",
    "lanczos5",
    "mitchellcubic",
]
"""Those that begin with `antialias` filter when they shrink, as Pillow does; the first one is its
`BILINEAR`. The others have the names and the pixels of Keras' `image_dataset_from_directory`."""


class Preprocessing(BaseModel, frozen=True, extra="forbid"):
    """What a model was trained with, and therefore has to be given."""

    resize: Resize = "stretch"
    """How a picture comes to the model's height and width."""
    interpolation: Interpolation = "antialias"
    """How the pixels of another size are computed from those there are."""
    background: tuple[int, int, int] | None = None
    """The colour behind transparent pixels; none drops their transparency, as Keras does."""


DEFAULT = Preprocessing()
