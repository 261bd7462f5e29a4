"""Photographs of many sizes and formats, made of a few that installed packages ship."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from benchmarks.photographs.originals import originals

SIDES = (120, 700)
SHARES = (0.25, 0.95)
"""How much of a source's side a crop has."""
QUALITIES = (70, 96)
ORIENTATION = 0x0112
ORIENTATIONS = range(1, 9)
FORMATS = (*(".jpg",) * 2, ".png", ".webp", ".jpg", ".tiff")
OPTIONS: Mapping[str, tuple[dict[str, Any], ...]] = {
    ".png": ({}, {"optimize": True}),
    ".webp": ({"quality": 90}, {"lossless": True}),
    ".tiff": ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}),
}


def photograph_folder(place: Path, count: int) -> Path:
    """So many photographs, all different; those of a smaller folder are the first of a larger."""
    folder = place / f"photographs-{count}"
    if not folder.exists():
        draft = folder.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for number in range(count):
            write(draft, number)
        draft.rename(folder)
    return folder


def write(folder: Path, number: int) -> None:
    """The photograph of this number; JPEG files take turns in how the camera was held."""
    random = np.random.default_rng(number)
    image = photograph(number, random)
    suffix = FORMATS[number % len(FORMATS)]
    path = folder / f"{number:04d}{suffix}"
    if suffix != ".jpg":
        options = OPTIONS[suffix]
        image.save(path, **options[number // len(FORMATS) % len(options)])
        return
    exif = Image.Exif()
    exif[ORIENTATION] = ORIENTATIONS[number // 2 % len(ORIENTATIONS)]
    image.save(
        path,
        exif=exif,
        quality=int(random.integers(*QUALITIES)),
        subsampling=int(random.integers(3)),
        progressive=bool(random.integers(2)),
    )


def photograph(number: int, random: np.random.Generator) -> Image.Image:
    """Part of a source in other proportions, colours and light; never square."""
    source = originals()[number % len(originals())]
    width, height = (int(side) for side in random.integers(*SIDES, 2))
    height += width == height
    across, down = (random.uniform(*SHARES, 2) * source.size).tolist()
    left, top = random.uniform(0, source.width - across), random.uniform(0, source.height - down)
    box = (left, top, left + across, top + down)
    image = source.resize((width, height), Image.Resampling.BICUBIC, box)
    channels = image.split()
    image = Image.merge("RGB", [channels[i] for i in random.permutation(3)])
    image = ImageEnhance.Brightness(image).enhance(random.uniform(0.6, 1.4))
    return ImageEnhance.Contrast(image).enhance(random.uniform(0.6, 1.4))
