"""A file that is not whole is refused, or its picture is: nothing in it is made up."""

import numpy as np
import pytest
from PIL import Image

from imaging.decoding.jpegs import read_jpeg
from imaging.errors import ImageError
from imaging.images import Pixels, decode_image
from tests.builders import encode, save

NOISE = np.random.default_rng(1).integers(0, 256, (12, 16, 3), np.uint8)
PHOTOGRAPH = np.asarray(Image.fromarray(NOISE).resize((160, 120), Image.Resampling.BICUBIC))
SHAPE = PHOTOGRAPH.shape
ALPHA = np.dstack([PHOTOGRAPH, PHOTOGRAPH[..., 0].T.copy().reshape(120, 160)])


IMAGE = Image.fromarray(PHOTOGRAPH)
FILES = {
    "jpeg": save(IMAGE, "JPEG"),
    "progressive jpeg": save(IMAGE, "JPEG", progressive=True),
    "grey jpeg": save(IMAGE.convert("L"), "JPEG", optimize=True),
    "jpeg with restarts": save(IMAGE, "JPEG", restart_marker_blocks=4),
    "cmyk jpeg": save(IMAGE.convert("CMYK"), "JPEG"),
    "mpo": save(IMAGE, "MPO", save_all=True, append_images=[IMAGE.rotate(180)]),
    "png": save(IMAGE, "PNG"),
    "png as it stands": save(IMAGE, "PNG", compress_level=0),
    "png with a palette": save(IMAGE.quantize(64), "PNG"),
    "gif": save(IMAGE.quantize(64), "GIF"),
    "animated gif": save(IMAGE, "GIF", save_all=True, append_images=[IMAGE.rotate(180)]),
    "webp": save(IMAGE, "WEBP"),
    "lossless webp": save(IMAGE, "WEBP", lossless=True),
    "transparent webp": save(Image.fromarray(ALPHA), "WEBP"),
    "bmp": save(IMAGE, "BMP"),
}


def decoded(content: bytes) -> Pixels | None:
    try:
        return decode_image(content, (120, 160, 3))
    except ImageError as error:
        assert "damaged image" in str(error) or "not an image" in str(error)
        return None


@pytest.mark.parametrize("name", FILES)
def test_a_file_whose_rest_is_zeros_is_refused_unless_its_picture_is_whole(name: str) -> None:
    content = FILES[name]
    whole = decode_image(content, (120, 160, 3))
    unnoticed = {"webp": 100, "transparent webp": 100, "lossless webp": 400, "bmp": 480}
    refused = 0
    for kept in range(600, len(content) - unnoticed.get(name, 0), len(content) // 60):
        found = decoded(content[:kept] + bytes(len(content) - kept))
        refused += found is None
        if found is not None:
            if name == "bmp" and (kept - 54) % 480 == 0:
                continue  # a black part above, as it may be
            np.testing.assert_array_equal(found, whole)
    assert refused > 20


@pytest.mark.parametrize("padding", [b"\xff", b"A", b"\xaa", b"\x00\xff", b"\r\n"])
@pytest.mark.parametrize("name", [name for name in FILES if "jpeg" in name or name == "mpo"])
def test_a_jpeg_that_was_cut_and_padded_is_refused(name: str, padding: bytes) -> None:
    content = FILES[name]
    first = content.index(b"\xff\xd9") if name == "mpo" else len(content) - 2
    start = content.rindex(b"\xff\xda", 0, first) + 14
    for kept in range(start, first, 37):
        assert decoded(content[:kept] + padding * (len(content) - kept)) is None


def test_the_end_of_a_jpeg_is_not_looked_for_beyond_what_cannot_be_its_pixels() -> None:
    content = FILES["jpeg"]
    other = np.random.default_rng(1).bytes(3_000_000)
    for kept in range(content.rindex(b"\xff\xda") + 14, len(content), 40):
        with pytest.raises(ImageError, match="its end is missing"):
            read_jpeg(content[:kept] + other[10 * kept :])


@pytest.mark.parametrize("padding", [b"\0", b"\xff", b"A", b"\xff\xd9"])
@pytest.mark.parametrize("name", FILES)
def test_what_follows_a_whole_picture_does_not_matter(name: str, padding: bytes) -> None:
    whole = decode_image(FILES[name], (120, 160, 3))
    for count in (1, 7, 5_000):
        found = decode_image(FILES[name] + padding * count, (120, 160, 3))
        np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_refused_unless_its_picture_is_whole(name: str) -> None:
    content = FILES[name]
    whole = decode_image(content, (120, 160, 3))
    for kept in range(0, len(content), len(content) // 60):
        found = decoded(content[:kept])
        if found is not None:
            np.testing.assert_array_equal(found, whole)


def test_a_thumbnail_with_an_end_of_its_own_does_not_stand_for_the_picture() -> None:
    thumbnail = save(IMAGE.resize((16, 12)), "JPEG")
    segment = b"Exif\0\0" + thumbnail
    content = FILES["jpeg"]
    content = content[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2) + segment + content[2:]
    np.testing.assert_array_equal(decoded(content), decoded(FILES["jpeg"]))
    half = len(content) * 2 // 3
    assert decoded(content[:half] + bytes(len(content) - half)) is None


@pytest.mark.parametrize("colour", [0, 7, 255])
@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("WEBP", {"quality": 90, "method": 0}),
        ("WEBP", {"lossless": True, "quality": 0, "method": 0}),
        ("BMP", {}),
        ("JPEG", {"optimize": True}),
        ("PNG", {"compress_level": 0}),
    ],
)
def test_a_plain_area_at_the_end_is_no_damage(
    format: str, options: dict[str, object], colour: int
) -> None:
    """Its compressed pixels may be hundreds of zeros, too."""
    for rows in (0, 30, 90, 119):
        for flip in (np.asarray, np.flipud, np.fliplr):
            picture = PHOTOGRAPH.copy()
            picture[rows:] = colour
            content = encode(np.ascontiguousarray(flip(picture)), format, **options)
            assert decode_image(content, (120, 160, 3)).shape == SHAPE


def test_a_drawing_on_black_is_no_damaged_bmp() -> None:
    for shape in ("digit", "triangle", "frame"):
        drawing = np.zeros((40, 40, 3), np.uint8)
        for row in range(10, 40):
            match shape:
                case "digit":
                    drawing[row, 12:20] = 200
                case "triangle":
                    drawing[row, : row + 1] = 255
                case "frame":
                    drawing[row, 3:37] = (0, 0, 255)
        content = encode(drawing, "BMP")
        np.testing.assert_array_equal(decode_image(content, (40, 40, 3)), drawing)


def test_a_png_with_a_wrong_checksum_of_a_chunk_is_read_if_its_pixels_are_whole() -> None:
    content = bytearray(FILES["png"])
    content[content.rindex(b"IEND") - 5] ^= 1  # the checksum of the pixels' chunk
    np.testing.assert_array_equal(decoded(bytes(content)), PHOTOGRAPH)
