"""Draw pictures of things that exist nowhere, in a folder for each class, as JPEG files.

A shape and a pattern tell the classes apart; colours, size, place, angle, light and what else is in
the picture differ within each, as in photographs.

python examples/draw_things.py photographs --corners 3 5 --train 60 --test 20
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DEPTHS = {"": 0.0, "-star": 0.5}
"""How far a shape is cut in between its corners."""
PATTERNS = ("plain", "stripes", "rings")
CORNERS = (3, 4, 5, 6)
SIDES = (72, 144)
"""Height and width are between these."""

Plane = NDArray[np.float64]


def classes(corners: Sequence[int]) -> list[str]:
    """Six for each number of corners, such as `rings-5-star`."""
    return [f"{p}-{c}{star}" for c in corners for p in PATTERNS for star in DEPTHS]


def draw(thing: str, random: np.random.Generator) -> Image.Image:
    """One picture of a thing of this class, of any proportions."""
    height, width = random.integers(*SIDES, 2)
    canvas = np.ones((height, width, 3)) * random.uniform(0, 255, 3)
    for other in random.choice(classes(CORNERS), 2):
        paint(canvas, str(other), random, size=(0.07, 0.14), spread=0.5)
    paint(canvas, thing, random, size=(0.25, 0.4), spread=0.1)
    light = np.linspace(random.uniform(0.5, 1.1), random.uniform(0.5, 1.1), width)[:, None]
    lit = canvas * light + random.normal(0, 12, canvas.shape)
    return Image.fromarray(lit.clip(0, 255).astype(np.uint8))


def paint(
    canvas: Plane,
    thing: str,
    random: np.random.Generator,
    *,
    size: tuple[float, float],
    spread: float,
) -> None:
    """Put a thing on a canvas (H, W, 3), near the middle; sizes are shares of the shorter side."""
    pattern, number, *star = thing.split("-")
    corners, depth = int(number), DEPTHS["-star" if star else ""]
    height, width, _ = canvas.shape
    y0, x0 = np.array([height, width]) * (0.5 + random.uniform(-spread, spread, 2))
    rows, columns = np.mgrid[0:height, 0:width]
    distance, angle = np.hypot(rows - y0, columns - x0), np.arctan2(rows - y0, columns - x0)
    turned = angle + random.uniform(0, 2 * np.pi)
    near = np.abs((turned * corners / (2 * np.pi)) % 1 - 0.5) * 2  # 1 at a corner, 0 between two
    edge = min(height, width) * random.uniform(*size) * (1 - depth * (1 - near))
    if not star:
        edge *= np.cos(np.pi / corners) / np.cos((1 - near) * np.pi / corners)
    period = min(height, width) * random.uniform(0.06, 0.11)
    along = {
        "plain": np.zeros_like(distance),
        "stripes": distance * np.cos(turned) / period,
        "rings": distance / period,
    }[pattern]
    first, second = random.uniform(0, 255, (2, 3))
    inside = distance < edge
    canvas[inside] = np.where((along % 1 < 0.5)[..., None], first, second)[inside]


def main() -> None:
    """Draw what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--corners", type=int, nargs="+", default=CORNERS, choices=CORNERS)
    parser.add_argument("--train", type=int, default=60, help="pictures of each class")
    parser.add_argument("--test", type=int, default=20, help="pictures of each class")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    things = classes(options.corners)
    for split, count in (("train", options.train), ("test", options.test)):
        for thing in things:
            folder = options.folder / split / thing
            folder.mkdir(parents=True)
            for number in range(count):
                draw(thing, random).save(folder / f"{number:04}.jpg", quality=90)
    count = len(things) * (options.train + options.test)
    print(f"{count:,} pictures of {len(things)} classes in {options.folder}.")


if __name__ == "__main__":
    main()
