"""A folder of images as a data set: one subfolder per class, below train/ and test/ or not.

Images are decoded one by one straight into the data set's files: memory does not grow with them.
"""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from storage.datasets import DataSet, DataSetDraft, DatasetStore
from storage.errors import ImageError
from storage.images import FORMATS, SUFFIXES, Shape, decode_image
from trainer.arrays import SPLITS, LabelledImages
from trainer.errors import SourceError

LARGEST_SIDE = 512
TELL_SECONDS = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """How test images are chosen from a folder that has no train/ and test/."""

    test_share: float = 0.2
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class LabelledFiles:
    """Image files of each split with their class indices, in seeded random order."""

    classes: tuple[str, ...]
    splits: dict[str, list[tuple[Path, int]]]


def add_image_folder(
    store: DatasetStore,
    name: str,
    folder: Path,
    *,
    rule: SplitRule,
    size: tuple[int, int] | None = None,
    replace: bool = False,
) -> DataSet:
    """Import a folder under `name`; `size` is (height, width), the most frequent one if none.

    Raises `SourceError`, naming the file, for an image that cannot be read.
    """
    files = find_files(folder, rule)
    shape = choose_shape([path for split in SPLITS for path, _ in files.splits[split]], size)
    origin = f"folder:{folder}"
    if not has_splits(folder):
        origin += f" ({rule.test_share:.0%} of each class held out for test, seed {rule.seed})"
    with store.draft(shape) as draft:
        for split in SPLITS:
            decode_files(draft, split, files.splits[split])
        return store.commit(draft, name, files.classes, origin, replace=replace)


def find_files(folder: Path, rule: SplitRule) -> LabelledFiles:
    """List and label the images below `folder`; raises `SourceError` when a class has none."""
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder of images.")
    if has_splits(folder):
        found = {split: list_classes(folder / split) for split in SPLITS}
    else:
        found = hold_out(list_classes(folder), rule)
    if missing := sorted(found["test"].keys() - found["train"].keys()):
        raise SourceError(
            f"{folder} has test images but no training images of {', '.join(missing)}."
        )
    classes = tuple(sorted(found["train"], key=_natural_order))
    if len(classes) < 2:
        raise SourceError(
            f"{folder} has {len(classes) or 'no'} class{'' if classes else 'es'}: it needs at "
            "least two subfolders with images, named after the classes."
        )
    order = np.random.default_rng(rule.seed)
    splits = {}
    for split in SPLITS:
        labelled = [(p, i) for i, c in enumerate(classes) for p in found[split].get(c, ())]
        splits[split] = [labelled[k] for k in order.permutation(len(labelled))]
    return LabelledFiles(classes=classes, splits=splits)


def has_splits(folder: Path) -> bool:
    """Whether the folder has train/ and test/; raises `SourceError` when it has only one."""
    present = [split for split in SPLITS if (folder / split).is_dir()]
    if len(present) == 1:
        other = "test" if present == ["train"] else "train"
        raise SourceError(f"{folder} has a folder {present[0]} but no folder {other} beside it.")
    return bool(present)


def list_classes(folder: Path) -> dict[str, list[Path]]:
    """Image files by the subfolder they are in, in order of their names."""
    classes = {}
    for subfolder in sorted(folder.iterdir()):
        if subfolder.is_dir() and not subfolder.name.startswith("."):
            images = sorted(p for p in subfolder.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not images:
                raise SourceError(
                    f"{subfolder} has no images ({', '.join(FORMATS)}): add some or remove it."
                )
            classes[subfolder.name] = images
    return classes


def hold_out(classes: dict[str, list[Path]], rule: SplitRule) -> dict[str, dict[str, list[Path]]]:
    """Choose test images from each class, at least one and never all of them."""
    chooser = np.random.default_rng(rule.seed)
    held: dict[str, dict[str, list[Path]]] = {split: {} for split in SPLITS}
    for name, paths in classes.items():
        if len(paths) < 2:
            raise SourceError(
                f"{paths[0].parent} has only one image: one to train and one to test are needed."
            )
        count = min(max(1, round(rule.test_share * len(paths))), len(paths) - 1)
        chosen = set(chooser.permutation(len(paths))[:count].tolist())
        held["test"][name] = [path for i, path in enumerate(paths) if i in chosen]
        held["train"][name] = [path for i, path in enumerate(paths) if i not in chosen]
    return held


def choose_shape(paths: Sequence[Path], size: tuple[int, int] | None) -> Shape:
    """The shape (H, W, C) to bring all images to: grey only if every one is."""
    sizes: Counter[tuple[int, int]] = Counter()
    coloured = False
    for path in paths:
        try:
            with Image.open(path, formats=FORMATS) as image:
                sizes[image.height, image.width] += 1
                coloured |= image.mode not in ("1", "L", "LA", "I", "F") and image.mode[:2] != "I;"
        except (OSError, ValueError, SyntaxError) as error:
            raise SourceError(
                f"{path} is no readable image ({error}): mend or remove it."
            ) from None
    height, width = size or max(sizes, key=lambda known: (sizes[known], known))
    if size is None and max(height, width) > LARGEST_SIDE:
        raise SourceError(
            f"The images are {width} x {height}, too large to train on as they are: "
            "say with --size to what they shall be brought, --size 96 for example."
        )
    if others := sizes.total() - sizes[height, width]:
        log.info("%s images of another size are brought to %d x %d.", f"{others:,}", width, height)
    return height, width, 3 if coloured else 1


def decode_files(
    draft: DataSetDraft, split: str, files: Sequence[tuple[Path, int]]
) -> LabelledImages:
    """Decode image files with their class indices into a split of a draft."""
    images, labels = draft.add_split(split, len(files))
    told = time.monotonic()
    for i, (path, label) in enumerate(files):
        try:
            images[i] = decode_image(path.read_bytes(), draft.shape, draft.preprocessing)
        except (ImageError, OSError) as error:
            raise SourceError(f"{path} cannot be read ({error}): mend or remove it.") from None
        labels[i] = label
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            log.info("%s of %s %s images", f"{i + 1:,}", f"{len(files):,}", split)
    return LabelledImages(images=images, labels=labels)


def _natural_order(name: str) -> tuple[int, int, str]:
    """Numbers by value, then words by alphabet: 2 before 10."""
    return (0, int(name), "") if name.isascii() and name.isdigit() else (1, 0, name)
