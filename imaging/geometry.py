"""Which part of a picture becomes which part of a model's pixels.

`crop` and `letterbox` do what the model's author most likely did, which follows from the
interpolation. With those of Keras they are `crop_to_aspect_ratio` and `pad_to_aspect_ratio` of
`image_dataset_from_directory`, of which the first cuts before it resizes. With those that filter,
`crop` is `Resize` and `CenterCrop` of torchvision, and `letterbox` is `ImageOps.pad` of Pillow.
"""

from dataclasses import dataclass

import numpy as np

from imaging.preprocessing import Preprocessing

Size = tuple[int, int]
"""Width and height, as in Pillow."""


@dataclass(frozen=True)
class Window:
    """A part of a picture; what lies beyond its edges is margin."""

    left: int
    top: int
    width: int
    height: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom, as Pillow takes them."""
        return self.left, self.top, self.left + self.width, self.top + self.height


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """From an upright picture to a model's size, in at most three steps."""

    before: Window | None = None
    """What of the picture is resized; none is all of it."""
    size: Size
    """To which size."""
    after: Window | None = None
    """What of the resized one is kept; none is all of it."""

    @classmethod
    def of(cls, size: Size, wanted: Size, preprocessing: Preprocessing) -> "Geometry":
        """How a picture of one size comes to the wanted one."""
        match preprocessing.resize:
            case "stretch":
                return cls(size=wanted)
            case "crop" if preprocessing.filters or preprocessing.shorter_side:
                return crop_after(size, wanted, preprocessing.shorter_side)
            case "crop":
                return crop_before(size, wanted)
            case "letterbox" if preprocessing.filters:
                return pad_after(size, wanted)
            case _:
                return pad_after_as_keras(size, wanted)


def crop_after(size: Size, wanted: Size, shorter_side: int | None) -> Geometry:
    """The shorter side becomes so long, or as long as it takes, and the middle is kept."""
    (width, height), (across, down) = size, wanted
    if shorter_side is None and across != down:
        scale = max(across / width, down / height)
        resized = max(round(width * scale), across), max(round(height * scale), down)
    else:
        side = shorter_side or across
        shorter = min(size)
        # As torchvision: rounded down.
        resized = int(side * width / shorter), int(side * height / shorter)
    left, top = round((resized[0] - across) / 2), round((resized[1] - down) / 2)
    return Geometry(size=resized, after=Window(left, top, across, down))


def crop_before(size: Size, wanted: Size) -> Geometry:
    """The largest part in the middle that has the wanted proportions."""
    width, height = size
    across, down = in_proportion(size, wanted)
    kept = max(min(width, across), 1), max(min(height, down), 1)
    return Geometry(
        before=Window((width - kept[0]) // 2, (height - kept[1]) // 2, *kept), size=wanted
    )


def pad_after(size: Size, wanted: Size) -> Geometry:
    """As large as fits in, and a margin around."""
    (width, height), (across, down) = size, wanted
    resized = wanted
    if width / height > across / down:
        resized = across, max(round(height / width * across), 1)
    elif width / height < across / down:
        resized = max(round(width / height * down), 1), down
    left, top = round((across - resized[0]) * 0.5), round((down - resized[1]) * 0.5)
    return Geometry(size=resized, after=Window(-left, -top, across, down))


def pad_after_as_keras(size: Size, wanted: Size) -> Geometry:
    """As large as fits in, and a margin around, with the rounding of `resize_with_pad`."""
    width, height = map(np.float32, size)
    across, down = map(np.float32, wanted)
    ratio = max(width / across, height / down)
    exact = width / ratio, height / ratio
    resized = max(int(exact[0]), 1), max(int(exact[1]), 1)
    left, top = max(int((across - exact[0]) / 2), 0), max(int((down - exact[1]) / 2), 0)
    return Geometry(size=resized, after=Window(-left, -top, *wanted))


def in_proportion(size: Size, wanted: Size) -> Size:
    """The width that fits the height, and the height that fits the width, as Keras rounds them."""
    (width, height), (across, down) = size, wanted
    return (
        int(np.float32(height * across) / np.float32(down)),
        int(np.float32(width * down) / np.float32(across)),
    )
