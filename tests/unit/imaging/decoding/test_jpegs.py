"""JPEG files as cameras, telephones and printers write them, against formulas in plain NumPy."""

import base64
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imaging.errors import ImageError
from imaging.images import Pixels, decode_image
from tests.builders import encode, save
from tests.icc_profiles import black_ink_profile

SHAPE = (32, 48, 3)
INKS = np.random.default_rng(1).integers(0, 256, (4, 6, 4), np.uint8)
INKS = INKS.repeat(8, axis=0).repeat(8, axis=1)
"""Each plain area is a whole block of JPEG."""

ARITHMETIC = base64.b85decode(
    "|JeWF01!$>Nk#wx0RR9200961|JwjV00jdC1Ox*G1Ox;H1qB8N3<w7Y2L}%e3keJn4-yg)4-pX)791B76dDx~5f~vD8XX-U"
    "A0HDJA|xUnBpe<e9{<Sz3kU!Z01yEI5di<p00saM5C#9*00;pA002J#{{YK7IBO(pz96xGHvV{R-vs=dCN%~5-x&Yd"
)
"""Rows * 9 + columns * 7, 16 x 16, as `jpegtran -arithmetic` writes it."""


def colours() -> Pixels:
    rows, columns = np.mgrid[0:32, 0:48]
    return np.stack([rows * 7, columns * 5, 255 - rows * 3], axis=-1).astype(np.uint8)


def cmyk_jpeg(stored: NDArray[np.uint8], transform: int | None, **options: object) -> bytes:
    """A JPEG of four planes as they stand, with this transform in Adobe's marker, or without it."""
    image = Image.fromarray(255 - stored, "CMYK")  # Pillow inverts what it writes
    content = save(image, "JPEG", quality=100, subsampling=0, **options)
    start = content.index(b"\xff\xee\x00\x0eAdobe")
    end = start + 16
    adobe = b"" if transform is None else content[start : end - 1] + bytes([transform])
    return content[:start] + adobe + content[end:]


def ycck(inks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The planes of inks as Photoshop stores them: the inverted black, and the rest like RGB."""
    red, green, blue, black = np.moveaxis(inks.astype(float), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = [luma, (blue - luma) / 1.772 + 128, (red - luma) / 1.402 + 128, 255 - black]
    return np.stack(planes, axis=-1).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("stored", "transform"),
    [(255 - INKS, 0), (ycck(INKS), 2), (255 - INKS, None)],
    ids=["CMYK", "YCCK", "without Adobe's marker"],
)
def test_inks_are_stored_inverted_and_take_light_from_white(
    stored: NDArray[np.uint8], transform: int | None
) -> None:
    content = cmyk_jpeg(stored, transform)
    light = 1 - INKS / 255
    expected = 255 * light[..., :3] * light[..., 3:]
    assert np.abs(decode_image(content, SHAPE) - expected).max() <= 2
    grey = expected @ [0.299, 0.587, 0.114]
    assert np.abs(decode_image(content, (*SHAPE[:2], 1))[..., 0] - grey).max() <= 2


@pytest.mark.parametrize("transform", [0, 2, None])
def test_the_profile_of_inks_is_followed_however_they_are_stored(transform: int | None) -> None:
    shades = np.linspace(0, 230, 24).astype(np.uint8).reshape(4, 6)
    black = shades.repeat(8, axis=0).repeat(8, axis=1)
    inks = np.stack([black // 2, black // 3, black // 4, black], axis=-1)
    stored = ycck(inks) if transform == 2 else np.uint8(255) - inks
    content = cmyk_jpeg(stored, transform, icc_profile=black_ink_profile())
    lightness = 100 - black / 2.55
    light = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness * 27 / 24389)
    expected = 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(decode_image(content, SHAPE) - expected[..., None]).max() <= 4


def test_colours_may_be_stored_as_red_green_and_blue() -> None:
    content = encode(colours(), "JPEG", quality=100, keep_rgb=True)
    assert np.abs(decode_image(content, SHAPE).astype(int) - colours()).max() <= 3
    grey = colours() @ [0.299, 0.587, 0.114]
    assert np.abs(decode_image(content, (*SHAPE[:2], 1))[..., 0] - grey).max() <= 3


@pytest.mark.parametrize(
    "options",
    [{"progressive": True}, {"restart_marker_blocks": 1}, {"optimize": True}],
    ids=str,
)
def test_the_same_picture_comes_of_every_way_to_code_it(options: dict[str, int]) -> None:
    plain = encode(colours(), "JPEG", quality=95, subsampling=0)
    content = encode(colours(), "JPEG", quality=95, subsampling=0, **options)
    np.testing.assert_array_equal(decode_image(content, SHAPE), decode_image(plain, SHAPE))
    assert np.abs(decode_image(content, SHAPE).astype(int) - colours()).max() <= 12


def test_arithmetic_coding_is_read() -> None:
    rows, columns = np.mgrid[0:16, 0:16]
    decoded = decode_image(ARITHMETIC, (16, 16, 1))[..., 0]
    assert np.abs(decoded - (rows * 9 + columns * 7)).max() <= 2


def ultra_hdr() -> bytes:
    """A picture with its gain map behind it, as telephones with Android write it."""
    gain = Image.fromarray(np.full((8, 12), 200, np.uint8))
    content = save(
        Image.fromarray(colours()),
        "MPO",
        save_all=True,
        append_images=[gain],
        quality=95,
        subsampling=0,
    )
    xmp = (
        b"http://ns.adobe.com/xap/1.0/\0"
        b'<rdf:Description xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0">'
        b'<Container:Directory><Container:Item Item:Semantic="GainMap" Item:Length="999"/>'
    )
    return content[:2] + b"\xff\xe1" + (len(xmp) + 2).to_bytes(2) + xmp + content[2:]


def test_of_an_ultra_hdr_picture_the_base_is_read() -> None:
    content = ultra_hdr()
    plain = Image.open(io.BytesIO(encode(colours(), "JPEG", quality=95, subsampling=0)))
    np.testing.assert_array_equal(decode_image(content, SHAPE), np.asarray(plain))
    cut = content[: content.rindex(b"\xff\xd8")]  # the gain map lost on the way
    np.testing.assert_array_equal(decode_image(cut, SHAPE), np.asarray(plain))


def test_of_an_mpo_the_first_picture_is_read() -> None:
    others = [Image.fromarray(255 - colours())]
    content = encode(
        colours(), "MPO", save_all=True, append_images=others, quality=95, subsampling=0
    )
    assert content.count(b"\xff\xd8\xff") == 2
    assert np.abs(decode_image(content, SHAPE).astype(int) - colours()).max() <= 12


def test_a_jpeg_of_twelve_bits_is_refused_in_a_sentence() -> None:
    content = encode(colours(), "JPEG")
    at = content.index(b"\xff\xc0") + 4
    with pytest.raises(ImageError, match="a kind of JPEG that is not read: convert it to 8 bits"):
        decode_image(content[:at] + b"\x0c" + content[at + 1 :], SHAPE)
