"""How a picture becomes a model's pixels, whatever its size: part of every version's manifest."""

from typing import Literal

from pydantic import BaseModel, Field

Resize = Literal["stretch", "crop", "letterbox"]
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

Colour = tuple[int, int, int]


class Preprocessing(BaseModel, frozen=True, extra="forbid"):
    """What a model was trained with, and therefore has to be given.

    The defaults are those of data sets and versions that were made before there was a choice.
    `imaging.geometry` says to the pixel what `resize` does.
    """

    resize: Resize = "stretch"
    """How a picture comes to the model's height and width: `stretch` takes all of it, whatever
    its proportions; `crop` what is in its middle; `letterbox` all of it, with a margin."""
    shorter_side: int | None = Field(default=None, ge=1, le=10_000)
    """To how many pixels `crop` brings the shorter side before it cuts; none is just enough."""
    fill: Colour = (0, 0, 0)
    """The colour of the margin of `letterbox`."""
    interpolation: Interpolation = "antialias"
    """How the pixels of another size are computed from those there are."""
    background: Colour | None = None
    """The colour behind transparent pixels; none drops their transparency, as Keras does."""
    colours: Literal["srgb", "stored"] = "srgb"
    """Whether the wide colours of an embedded profile, a telephone's say, become sRGB, or stay the
    numbers that are in the file, as Keras reads them."""
    scaled_decoding: bool = True
    """Whether a large JPEG may be decoded at a fraction of its size where `interpolation` filters:
    several times as fast, and pixels differ by a little from those of the whole."""

    @property
    def keeps(self) -> bool:
        """Whether a picture that has the model's size already stays as it is."""
        return self.shorter_side is None

    @property
    def filters(self) -> bool:
        """Whether all pixels of a large picture count, not only those near the wanted ones."""
        return self.interpolation.startswith("antialias")


DEFAULT = Preprocessing()
AS_KERAS = Preprocessing(interpolation="bilinear")
"""How pictures come to a model's size where Keras reads them."""
