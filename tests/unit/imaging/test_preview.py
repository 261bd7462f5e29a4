"""What is shown of files that cannot be classified."""

import numpy as np
import pytest
from PIL import Image, ImageFile

from imaging.errors import ImageError
from imaging.images import decode_image
from imaging.preview import preview
from tests.builders import encode, save

LIMIT = 1_000_000


def photograph(width: int = 300, height: int = 200) -> Image.Image:
    colours = np.random.default_rng(1).integers(100, 256, (height, width, 3), np.uint8)
    return Image.fromarray(colours)


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_of_half_a_file_half_a_picture_is_seen(format: str) -> None:
    content = save(photograph(), format)
    half = content[: len(content) // 2]
    with pytest.raises(ImageError):
        decode_image(half, (200, 300, 3))
    seen = preview(half, 60, max_pixels=LIMIT)
    assert seen is not None
    assert seen.shape == (40, 60, 3)
    upper, lower = seen[2:10], seen[-8:-2]
    assert upper.std() > 2 * lower.std(), "the lower half is missing"
    assert not ImageFile.LOAD_TRUNCATED_IMAGES, "all others want whole files"


def test_it_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    seen = preview(save(photograph(), "JPEG", exif=exif), 60, max_pixels=LIMIT)
    assert seen is not None
    assert seen.shape == (60, 40, 3)


@pytest.mark.parametrize(
    "content",
    [b"", b"coffee", save(photograph(), "PNG")[:20], save(photograph(2_000, 1_000), "PNG")],
    ids=["empty", "no image", "no pixels", "too many pixels"],
)
def test_of_others_nothing_is_seen(content: bytes) -> None:
    assert preview(content, 60, max_pixels=LIMIT) is None


def test_nothing_is_made_up_of_deep_grey() -> None:
    deep = encode(np.full((4, 4), 40_000, np.uint16), "TIFF")
    assert preview(deep, 60, max_pixels=LIMIT) is None
