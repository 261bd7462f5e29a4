"""Which files hold several pictures, and that the first of them is the one that is read."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from imaging.decoding.formats import can_read_heic
from imaging.decoding.frames import describe_several, holds_several
from imaging.images import decode_image
from tests.builders import save

FIRST, SECOND = (40, 120, 200), (250, 10, 30)
SINGLE: dict[str, dict[str, Any]] = {
    "PNG": {},
    "GIF": {},
    "TIFF": {},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 95},
    "HEIF": {"quality": 95},
    "JPEG": {"quality": 95},
    "BMP": {},
}
SUBFILE_TYPE, REDUCED, PAGE = 254, 1, 2
ANIMATED = ("PNG", "GIF", "TIFF", "WEBP", "AVIF")


def picture(colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (16, 16), colour)


def several(format: str, **options: Any) -> bytes:
    others = {"save_all": True, "append_images": [picture(SECOND)]}
    return save(picture(FIRST), format, **others, **options)


@pytest.mark.parametrize("format", ANIMATED)
def test_the_first_of_several_is_read(format: str) -> None:
    content = several(format, **SINGLE[format])
    assert holds_several(content)
    shown = decode_image(content, (16, 16, 3)).astype(int)
    assert np.abs(shown - np.array(FIRST)).max() <= (3 if format == "AVIF" else 0)


@pytest.mark.parametrize("brand", [b"hevc", b"msf1"])
def test_a_heic_that_calls_itself_a_sequence_is_one(brand: bytes) -> None:
    assert can_read_heic()
    content = several("HEIF", quality=95)
    sequence = content[:8] + brand + content[12:]
    assert holds_several(sequence)
    assert np.abs(decode_image(sequence, (16, 16, 3)).astype(int) - np.array(FIRST)).max() <= 3


@pytest.mark.parametrize("format", SINGLE)
def test_a_single_picture_is_not_taken_for_several(format: str) -> None:
    assert can_read_heic()
    assert not holds_several(save(picture(FIRST), format, **SINGLE[format]))


def test_a_picture_that_an_animation_leaves_out_is_the_one_that_is_read() -> None:
    content = several("PNG", default_image=True)
    assert (decode_image(content, (16, 16, 3)) == FIRST).all()


def test_what_a_photograph_brings_along_is_no_further_picture() -> None:
    """A preview or a gain map behind a JPEG, a smaller copy in a TIFF."""
    assert not holds_several(several("MPO"))
    for subfile_type, counts in [(0, True), (REDUCED, False), (PAGE, True)]:
        other = picture(SECOND)
        other.encoderinfo = {"tiffinfo": {SUBFILE_TYPE: subfile_type}}
        content = save(picture(FIRST), "TIFF", save_all=True, append_images=[other])
        assert holds_several(content) == counts


@pytest.mark.parametrize("format", SINGLE)
def test_judging_a_file_raises_nothing_wherever_it_ends(format: str) -> None:
    content = several(format) if format in ANIMATED else save(picture(FIRST), format)
    for length in range(0, min(300, len(content)), 3):
        holds_several(content[:length])


def test_the_sentence_counts() -> None:
    assert describe_several(0) == ""
    assert describe_several(1) == "1 image has several pages or frames: the first is taken."
    assert describe_several(1_200) == (
        "1,200 images have several pages or frames: the first of each is taken."
    )
