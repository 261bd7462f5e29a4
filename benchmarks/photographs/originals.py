"""The photographs that installed packages ship: what all others here are made of."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

FILES = {
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
    "matplotlib": ("mpl-data/sample_data/grace_hopper.jpg",),
}
"""Creative Commons and public domain: their packages name the photographers."""


@cache
def originals() -> list[Image.Image]:
    """Those that are there, decoded once per process."""
    return [
        Image.open(Path(spec.origin).parent / path).convert("RGB")
        for package, paths in FILES.items()
        if (spec := find_spec(package)) and spec.origin
        for path in paths
    ]
