"""Write the first images of a data set as PNG files: one folder per class, and a manifest.

python examples/save_images.py mnist test 100 digits
"""

import csv
import sys
from pathlib import Path

from PIL import Image

from storage.datasets.store import DatasetStore
from storage.settings import storage_settings


def save_images(dataset: str, split: str, count: int, folder: Path) -> int:
    """Write `count` images below `folder`; returns how many there were."""
    data = DatasetStore(storage_settings().root).get(dataset)
    images, labels = data.images(split), data.labels(split)
    classes = data.description.classes
    rows = []
    for number, (image, label) in enumerate(zip(images[:count], labels[:count], strict=True)):
        path = Path(classes[label]) / f"{number:05d}.png"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.squeeze()).save(folder / path)
        rows.append((path.as_posix(), classes[label]))
    with (folder / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    return len(rows)


if __name__ == "__main__":
    name, part, number, target = sys.argv[1:]
    print(f"{save_images(name, part, int(number), Path(target))} images in {target}.")
