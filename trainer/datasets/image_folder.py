"""Image files, of a folder or a manifest, as a data set.

Images are looked at one by one, for their sizes and colours, and then decoded straight into the
data set's files: memory does not grow with them. Those that cannot be read are named and left out.
"""

import io
import logging
import os
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from console.counts import counted
from imaging.decoding.formats import formats_for
from imaging.decoding.frames import describe_several, holds_several
from imaging.decoding.jpegs import read_jpeg
from imaging.errors import ImageError
from imaging.images import Shape, decode_image
from imaging.orientation import LYING, metadata, orientation
from imaging.preprocessing import Preprocessing, Resize
from storage.datasets.store import DataSet, DataSetDraft, DatasetStore
from storage.files import printable
from storage.settings import StorageSettings
from trainer.datasets.arrays import SPLITS, LabelledImages
from trainer.datasets.class_folders import SplitRule, brief, find_classes, label_files
from trainer.datasets.manifest import read_manifest
from trainer.errors import SourceError

LARGEST_SIDE = 512
MOST_ALIKE = 4
"""One of so many images must have the size that all are brought to unless one is told."""
TELL_SECONDS = 5.0
MOST_NAMED = 10
"""So many images that cannot be read are named; of the others only the number is told."""
ON_WHITE = Preprocessing(background=(255, 255, 255))
"""How pictures become the pixels of a new data set, unless told otherwise."""
RESHAPED: Mapping[Resize, str] = {
    "stretch": "stretched",
    "crop": "cut at the edges",
    "letterbox": "with a margin",
}
"""What becomes of images of other proportions."""
METADATA_IN_PNG = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
GREY_MODES = ("1", "L", "LA", "La", "I", "F")

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Survey:
    """What some image files are like, as far as that can be told without decoding them."""

    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """How many are upright so high and so wide."""
    coloured: int = 0
    bad: dict[Path, str] = field(default_factory=dict)
    """Why some cannot be read."""
    several: int = 0
    """How many hold more pictures than the one that counts."""

    def describe(self, shape: Shape, resize: Resize) -> str:
        """How many need another size to be of this shape, and other proportions; "" if none."""
        height, width, _ = shape
        others = self.sizes.total() - self.sizes[height, width]
        reshaped = sum(
            count
            for (high, wide), count in self.sizes.items()
            if abs(wide * height - high * width) > max(high, wide)
        )
        if not others:
            return ""
        told = f", {reshaped:,} of them {RESHAPED[resize]}" if reshaped else ""
        return f"{others:,} of {counted(self.sizes.total(), 'image')}{told}"

    def leave_out(self, path: Path, reason: str, settings: StorageSettings) -> None:
        """Count an image no longer that turned out to be bad."""
        self.bad[path] = reason
        with suppress(Exception):  # one whose size could not be told was not counted
            height, width, coloured = measure(path, settings)
            self.sizes[height, width] -= 1
            self.coloured -= coloured

    def tell_several(self) -> None:
        """Say that of some files only the first picture was taken, if so."""
        if told := describe_several(self.several):
            log.info("%s", told)

    def settle_bad(self, source: Path, *, strict: bool) -> None:
        """Name the images of a folder or manifest that cannot be read, if any.

        Raises `SourceError` when nobody wants to go on without them, or none is left.
        """
        if not self.bad:
            return
        place = source if source.is_dir() else source.parent
        reasons = {
            printable(os.path.relpath(path, place)): reason
            for path, reason in sorted(self.bad.items())
        }
        count = f"{len(reasons):,} image{'' if len(reasons) == 1 else 's'} of {source}"
        named = name_bad(reasons)
        it = "it" if len(reasons) == 1 else "them"
        limits = any("BATCHSIGHT_" in reason for reason in reasons.values())
        remedy = f"fix or remove {it}{', or raise that setting' if limits else ''}"
        if strict:
            raise SourceError(
                f"{count} cannot be used: {named}: {remedy}, or leave out --strict to go on "
                f"without {it}."
            )
        log.warning("Left out, where --strict would refuse: %s: %s.", count, named)


def name_bad(reasons: Mapping[str, str]) -> str:
    """Images that cannot be read, the first ones by name, and why; each reason once."""
    alike: dict[str, list[str]] = {}
    for name, reason in islice(reasons.items(), MOST_NAMED):
        alike.setdefault(reason, []).append(name)
    told = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in alike.items())
    others = len(reasons) - MOST_NAMED
    return f"{told} and {others:,} more" if others > 0 else told


def add_image_files(
    store: DatasetStore,
    name: str,
    source: Path,
    *,
    rule: SplitRule,
    settings: StorageSettings,
    size: tuple[int, int] | None = None,
    preprocessing: Preprocessing = ON_WHITE,
    strict: bool = False,
    replace: bool = False,
) -> DataSet:
    """Import a folder, or what a manifest names, as `name`.

    `size` is (height, width), the most frequent one if none. Images that cannot be read are named
    and left out; with `strict`, or when a class has no others to train on, `SourceError` is raised.
    """
    listed = source.is_file()
    files = label_files(read_manifest(source) if listed else find_classes(source), source, rule)
    survey = look_at((path for split in SPLITS for path, _ in files.splits[split]), settings)
    shape = choose_shape(survey, size)
    origin = f"{'list' if listed else 'folder'}:{source}"
    if files.held_out:
        origin += f" ({rule.test_share:.0%} of each class held out for test, seed {rule.seed})"
    with store.draft(shape, preprocessing) as draft:
        parts = {
            split: decode_files(draft, split, files.splits[split], survey, settings)
            for split in SPLITS
        }
        survey.settle_bad(source, strict=strict)
        survey.tell_several()
        require_images(source, files.classes, parts)
        dataset = store.commit(draft, name, files.classes, origin, replace=replace)
    if told := survey.describe(shape, preprocessing.resize):
        height, width, _ = shape
        size_and_how = f"{height} x {width} (H x W) by {preprocessing.interpolation}"
        log.info(
            "Brought to %s: %s; --size, --resize and --interpolation change that.",
            size_and_how,
            told,
        )
    return dataset


def require_images(
    source: Path, classes: Sequence[str], parts: Mapping[str, LabelledImages]
) -> None:
    """Raise `SourceError` when what was left out leaves a class, or the test, without images."""
    counts = np.bincount(parts["train"].labels, minlength=len(classes))
    if empty := [name for name, count in zip(classes, counts, strict=True) if not count]:
        raise SourceError(
            f"{source} has no training image of {brief(empty)} that can be read: add some."
        )
    if not len(parts["test"].labels):
        raise SourceError(f"{source} has no test image that can be read: add some.")


def look_at(paths: Iterable[Path], settings: StorageSettings) -> Survey:
    """Measure images; those beyond the limits of the settings are bad."""
    survey = Survey()
    for path in paths:
        try:
            height, width, coloured = measure(path, settings)
        except ImageError as error:
            survey.bad[path] = str(error)
        except Exception:  # of whatever type Pillow raises: decoding says what is wrong
            continue
        else:
            survey.sizes[height, width] += 1
            survey.coloured += coloured
    return survey


def measure(path: Path, settings: StorageSettings) -> tuple[int, int, bool]:
    """Height and width of an image as it is seen, and whether it has colours.

    Raises `ImageError` when it is beyond a limit, else what Pillow does.
    """
    size = path.stat().st_size
    if size > settings.max_image_bytes:
        raise ImageError(
            f"{size:,} bytes, BATCHSIGHT_MAX_IMAGE_BYTES is {settings.max_image_bytes:,}"
        )
    content = path.read_bytes()
    with (
        warnings.catch_warnings(action="ignore"),
        Image.open(io.BytesIO(content), formats=formats_for(content)) as image,
    ):
        width, height = image.size
        if width * height > settings.max_image_pixels:
            raise ImageError(
                f"{width * height:,} pixels, "
                f"BATCHSIGHT_MAX_IMAGE_PIXELS is {settings.max_image_pixels:,}"
            )
        if lies_on_its_side(image, content):
            width, height = height, width
        return height, width, is_coloured(image)


def lies_on_its_side(image: Image.Image, content: bytes) -> bool:
    """Whether its orientation exchanges height and width."""
    if image.format == "JPEG":
        jpeg = read_jpeg(content)
        return orientation(jpeg.exif, jpeg.xmp) in LYING
    if image.format == "PNG":
        # Its metadata may stand behind the pixels, which would have to be read for nothing.
        if not any(mark in content for mark in METADATA_IN_PNG):
            return False
        image.load()
    return orientation(*metadata(image)) in LYING


def is_coloured(image: Image.Image) -> bool:
    """Whether it would lose colours as a grey image."""
    if image.mode == "P":
        palette = image.getpalette("RGB") or []
        return not palette[0::3] == palette[1::3] == palette[2::3]
    return image.mode not in GREY_MODES and not image.mode.startswith("I;")


def choose_shape(survey: Survey, size: tuple[int, int] | None) -> Shape:
    """The shape (H, W, C) to bring all images to: grey only if every one is."""
    sizes = survey.sizes
    height, width = size or max(sizes, key=lambda known: (sizes[known], known), default=(1, 1))
    if size is None and MOST_ALIKE * sizes[height, width] < sizes.total():
        raise SourceError(
            f"The images have {len(sizes):,} sizes, and none is that of many: say with --size to "
            "what they shall be brought, --size 96 for example."
        )
    if size is None and max(height, width) > LARGEST_SIDE:
        raise SourceError(
            f"The images are {height} x {width} (H x W), too large to train on as they are: "
            "say with --size to what they shall be brought, --size 96 for example."
        )
    return height, width, 3 if survey.coloured else 1


def decode_files(
    draft: DataSetDraft,
    split: str,
    files: Sequence[tuple[Path, int]],
    survey: Survey,
    settings: StorageSettings,
) -> LabelledImages:
    """Decode image files with their class indices into a split of a draft.

    Those that cannot be decoded are left out, and bad, as the survey then says.
    """
    images, labels = draft.add_split(split, len(files))
    told, count = time.monotonic(), 0
    for i, (path, label) in enumerate(files):
        if path not in survey.bad:
            try:
                content = path.read_bytes()
                images[count] = decode_image(
                    content,
                    draft.shape,
                    draft.preprocessing,
                    max_pixels=settings.max_image_pixels,
                )
            except ImageError as error:
                survey.leave_out(path, str(error), settings)
            except OSError as error:
                survey.leave_out(path, f"file cannot be read: {error.strerror}", settings)
            else:
                survey.several += holds_several(content)
                labels[count] = label
                count += 1
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            log.info("%s of %s %s images", f"{i + 1:,}", f"{len(files):,}", split)
    if count < len(files):
        images, labels = draft.shorten(split, count)
    return LabelledImages(images=images, labels=labels)
