"""Pictures with colour profiles, against the definition of sRGB in plain NumPy."""

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from imaging.decoding.formats import can_read_heic
from imaging.images import Pixels, decode_image
from imaging.preprocessing import Preprocessing
from tests.builders import save
from tests.icc_profiles import (
    ADOBE_PRIMARIES,
    P3_PRIMARIES,
    SRGB_PRIMARIES,
    black_ink_profile,
    grey_profile,
    rgb_profile,
)

P3 = rgb_profile(P3_PRIMARIES)
ADOBE = rgb_profile(ADOBE_PRIMARIES, [2.19921875])
SRGB_OF_LCMS = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SHAPE = (32, 32, 3)
Values = NDArray[np.float64]
WITHOUT_LOSS: dict[str, dict[str, Any]] = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}
LOSSY: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 98, "subsampling": 0},
    "AVIF": {"quality": 98},
    "HEIF": {"quality": 98},
}


@pytest.fixture(autouse=True)
def heic() -> None:
    assert can_read_heic()


def colours() -> Pixels:
    """Smooth colours, saturated ones too."""
    rows, columns = np.mgrid[0:32, 0:32] * 8
    return np.stack([rows, columns, 255 - (rows + columns) // 2], axis=-1).astype(np.uint8)


def linear(values: Values, power: float | None) -> Values:
    if power is not None:
        return np.power(values, power)
    bright = ((values + 0.055) / 1.055) ** 2.4
    return np.where(values <= 0.04045, values / 12.92, bright)


def in_srgb(pixels: Pixels, primaries: Any, power: float | None = None) -> Values:
    """What the pixels are in sRGB, by its definition."""
    light = linear(pixels / 255.0, power) @ np.array(primaries, np.float64)
    shares = (light @ np.linalg.inv(np.array(SRGB_PRIMARIES))).clip(0, 1)
    values: Values = 255 * np.where(
        shares <= 0.0031308, shares * 12.92, 1.055 * shares ** (1 / 2.4) - 0.055
    )
    return values


@pytest.mark.parametrize("format", [*WITHOUT_LOSS, *LOSSY])
@pytest.mark.parametrize(
    ("profile", "primaries", "power"),
    [(P3, P3_PRIMARIES, None), (ADOBE, ADOBE_PRIMARIES, 2.19921875)],
    ids=["Display P3", "Adobe RGB"],
)
def test_wide_colours_become_srgb(
    format: str, profile: bytes, primaries: Any, power: float | None
) -> None:
    image = Image.fromarray(colours())
    content = save(image, format, icc_profile=profile, **{**WITHOUT_LOSS, **LOSSY}[format])
    with Image.open(io.BytesIO(content)) as plain:
        stored = np.asarray(plain.convert("RGB"))
    expected = in_srgb(stored, primaries, power)
    assert np.abs(expected - stored).max() > 30
    assert np.abs(decode_image(content, SHAPE) - expected).max() <= 2.5


@pytest.mark.parametrize("format", [*WITHOUT_LOSS, *LOSSY])
@pytest.mark.parametrize(
    "profile", [SRGB_OF_LCMS, rgb_profile(SRGB_PRIMARIES)], ids=["of lcms", "of ICC"]
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_with_a_profile_of_srgb_no_pixel_changes(
    format: str, profile: bytes, channels: int
) -> None:
    options = {**WITHOUT_LOSS, **LOSSY}[format]
    image = Image.fromarray(colours())
    with_profile = save(image, format, icc_profile=profile, **options)
    without = save(image, format, icc_profile=None, **options)
    shape = (32, 32, channels)
    np.testing.assert_array_equal(decode_image(with_profile, shape), decode_image(without, shape))


@pytest.mark.parametrize("format", [*WITHOUT_LOSS, *LOSSY])
@pytest.mark.parametrize(
    "profile",
    [b"profile", P3[:200], P3[:100] + bytes(400), grey_profile([1.0]), P3 + bytes(5_000_000)],
    ids=["text", "torn", "zeros", "for grey", "too large"],
)
def test_what_is_no_profile_of_the_picture_is_ignored(format: str, profile: bytes) -> None:
    options = {**WITHOUT_LOSS, **LOSSY}[format]
    image = Image.fromarray(colours())
    if format == "PNG" and len(profile) > 1_000_000:
        pytest.skip("Pillow refuses to inflate it")
    if format in ("AVIF", "HEIF") and profile == b"profile":
        pytest.skip("their encoders refuse it")
    content = save(image, format, icc_profile=profile, **options)
    without = save(image, format, **options)
    np.testing.assert_array_equal(decode_image(content, SHAPE), decode_image(without, SHAPE))


def test_mutated_profiles_raise_nothing() -> None:
    random = np.random.default_rng(1)
    image = Image.fromarray(colours())
    for _ in range(400):
        mutated = bytearray(P3)
        for place in random.integers(0, len(P3), 4):
            mutated[place] = random.integers(256)
        decode_image(save(image, "PNG", icc_profile=bytes(mutated)), SHAPE)


def test_transparency_stays_and_hides_what_it_hid() -> None:
    rgba = np.dstack([colours(), np.full((32, 32), 255, np.uint8)])
    rgba[:16, :, 3] = 0
    content = save(Image.fromarray(rgba), "PNG", icc_profile=P3)
    np.testing.assert_array_equal(decode_image(content, (32, 32, 4))[..., 3], rgba[..., 3])
    white = decode_image(content, SHAPE, Preprocessing(background=(255, 255, 255)))
    assert (white[:16] == 255).all()
    assert np.abs(white[16:] - in_srgb(colours()[16:], P3_PRIMARIES)).max() <= 2.5


@pytest.mark.parametrize("transparent", [False, True])
def test_palettes_have_profiles_too(transparent: bool) -> None:
    image = Image.fromarray(colours()).quantize(16)
    expected = in_srgb(np.asarray(image.convert("RGB")), P3_PRIMARIES)
    options = {"transparency": 3} if transparent else {}
    content = save(image, "PNG", icc_profile=P3, **options)
    assert np.abs(decode_image(content, SHAPE) - expected).max() <= 2.5
    if transparent:
        hidden = np.asarray(image) == 3
        np.testing.assert_array_equal(decode_image(content, (32, 32, 4))[..., 3] == 0, hidden)


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_grey_has_curves_of_its_own(format: str) -> None:
    grey = np.linspace(0, 255, 1024).reshape(32, 32).astype(np.uint8)
    content = save(Image.fromarray(grey), format, icc_profile=grey_profile([1.0]), quality=98)
    with Image.open(io.BytesIO(content)) as plain:
        light = np.asarray(plain) / 255.0
    expected = 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    for channels in (1, 3):
        decoded = decode_image(content, (32, 32, channels))
        assert np.abs(decoded - expected[..., None]).max() <= 2.5


@pytest.mark.parametrize("format", ["TIFF", "JPEG"])
def test_inks_are_seen_as_their_profile_says(format: str) -> None:
    black = np.linspace(0, 255, 1024).reshape(32, 32).astype(np.uint8)
    inks = np.stack([black // 2, black // 3, black // 4, black], axis=-1)
    options = {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    image = Image.fromarray(inks, "CMYK")
    content = save(image, format, icc_profile=black_ink_profile(), **options)
    lightness = 100 - black / 2.55
    light = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness * 27 / 24389)
    expected = 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    difference = np.abs(decode_image(content, SHAPE) - expected[..., None])
    assert difference[black < 240].max() <= 4
    assert difference.max() <= 12  # of the darkest shades lcms looks at few


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_a_grey_model_sees_the_brightness_of_the_right_colours(format: str) -> None:
    content = save(Image.fromarray(colours()), format, icc_profile=P3, quality=98, subsampling=0)
    coloured = decode_image(content, SHAPE)
    expected = np.asarray(Image.fromarray(coloured).convert("L"))
    np.testing.assert_array_equal(decode_image(content, (32, 32, 1))[..., 0], expected)


def test_a_long_profile_stands_in_several_parts_of_a_jpeg_in_any_order() -> None:
    image = Image.fromarray(colours())
    parts = [b"\2\2" + P3[250:], b"\1\2" + P3[:250]]
    segments = b"".join(
        b"\xff\xe2" + (len(part) + 14).to_bytes(2) + b"ICC_PROFILE\0" + part for part in parts
    )
    plain = save(image, "JPEG", quality=98, subsampling=0)
    whole = save(image, "JPEG", quality=98, subsampling=0, icc_profile=P3)
    np.testing.assert_array_equal(
        decode_image(plain[:2] + segments + plain[2:], SHAPE), decode_image(whole, SHAPE)
    )


def test_stored_colours_stay_as_keras_reads_them() -> None:
    image = Image.fromarray(colours())
    content = save(image, "PNG", icc_profile=P3)
    stored = Preprocessing(colours="stored")
    np.testing.assert_array_equal(decode_image(content, SHAPE, stored), colours())
