"""Folders of distinct JPEG photographs of 640 x 480, made of a few that installed packages ship."""

import multiprocessing
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.bench_system import CORES
from benchmarks.photographs.originals import originals

WIDTH, HEIGHT = 640, 480
SHARES = (0.6, 1.0)
"""How much of a source's side a crop has."""
QUALITIES = (80, 95)


def photograph_folder(place: Path, count: int) -> Path:
    """So many photographs; those of a smaller folder are the first of a larger one."""
    folder = place / f"photographs-{count}"
    if not folder.exists():
        draft = folder.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        with multiprocessing.get_context("spawn").Pool(CORES) as pool:
            pool.starmap(write, [(draft, range(i, count, CORES)) for i in range(CORES)])
        draft.rename(folder)
    return folder


def write(folder: Path, numbers: Iterable[int]) -> None:
    """Photographs of these numbers."""
    for number in numbers:
        random = np.random.default_rng(number)
        quality = int(random.integers(*QUALITIES))
        path = folder / f"{number:06d}.jpg"
        photograph(number, random).save(path, "JPEG", quality=quality)


def photograph(number: int, random: np.random.Generator) -> Image.Image:
    """A crop of the camera's proportions, every second one mirrored."""
    source = originals()[number % len(originals())]
    width = int(min(source.width, source.height * WIDTH / HEIGHT) * random.uniform(*SHARES))
    height = width * HEIGHT // WIDTH
    left = int(random.integers(0, source.width - width + 1))
    top = int(random.integers(0, source.height - height + 1))
    box = (left, top, left + width, top + height)
    crop = source.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box)
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.integers(2) else crop
