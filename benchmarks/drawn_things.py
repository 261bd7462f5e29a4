"""Pictures of things that exist nowhere: a shape and a pattern tell classes apart, nothing else.

These have to be found behind what differs within each class, as in photographs: colours, size,
place, angle, light, noise and what else is in the picture.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 64
CORNERS = (3, 4, 5, 6)
DEPTHS = (0.0, 0.5)
"""How far a shape is cut in between its corners: a polygon, a star."""
PATTERNS = ("plain", "stripes", "rings")
KINDS = [(c, d, p) for p in PATTERNS for d in DEPTHS for c in CORNERS]
"""The classes, 24 of them."""

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float64]


def draw(kind: int, random: np.random.Generator) -> Pixels:
    """One picture (64, 64, 3) of a thing of this class."""
    canvas = np.ones((SIDE, SIDE, 3)) * random.uniform(0, 255, 3)
    for _ in range(2):
        paint(canvas, int(random.integers(len(KINDS))), random, (5, 9), 0.5)
    paint(canvas, kind, random, (16, 26), 0.15)
    light = np.linspace(random.uniform(0.5, 1.1), random.uniform(0.5, 1.1), SIDE)[:, None, None]
    lit = np.rot90(canvas * light, int(random.integers(4))) + random.normal(0, 12, canvas.shape)
    pixels: Pixels = lit.clip(0, 255).astype(np.uint8)
    return pixels


def paint(
    canvas: Plane, kind: int, random: np.random.Generator, radii: tuple[int, int], spread: float
) -> None:
    """Put a thing of a class on a canvas (H, W, 3), no farther from its middle than `spread`."""
    corners, depth, pattern = KINDS[kind]
    x0, y0 = SIDE * (0.5 + random.uniform(-spread, spread, 2))
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    distance, angle = np.hypot(rows - y0, columns - x0), np.arctan2(rows - y0, columns - x0)
    turned = angle + random.uniform(0, 2 * np.pi)
    within = np.abs((turned * corners / (2 * np.pi)) % 1 - 0.5) * 2  # 1 at a corner
    edge = random.uniform(*radii) * (1 - depth * (1 - within))
    if not depth:
        edge *= np.cos(np.pi / corners) / np.cos((1 - within) * np.pi / corners)
    period = random.uniform(4, 7)
    along = {
        "plain": np.zeros_like(distance),
        "stripes": distance * np.cos(turned) / period,
        "rings": distance / period,
    }[pattern]
    inside = distance < edge
    first, second = random.uniform(0, 255, (2, 3))
    canvas[inside] = np.where((along % 1 < 0.5)[..., None], first, second)[inside]


def write_folder(folder: Path, kinds: Sequence[int], *, train: int, test: int, seed: int) -> Path:
    """A folder of `train` and `test`, with a folder for each class."""
    random = np.random.default_rng(seed)
    for split, count in (("train", train), ("test", test)):
        for kind in kinds:
            corners, depth, pattern = KINDS[kind]
            images = folder / split / f"{pattern}-{corners}{'-star' if depth else ''}"
            images.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw(kind, random)).save(images / f"{number:04}.png")
    return folder
