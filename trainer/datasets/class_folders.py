"""How a folder of images is laid out: one subfolder per class, below train/ and test/ or not.

Splits may have other usual names, in any case. Links are followed: the folder is the user's own.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imaging.decoding.formats import IN_WORDS
from imaging.image_folders import Listing, describe_passed_over, list_images, subfolders
from storage.class_names import canonical
from storage.files import printable
from storage.split_names import split_called
from trainer.datasets.arrays import SPLITS
from trainer.errors import SourceError

log = logging.getLogger(__name__)

ClassFiles = dict[str, list[Path]]
"""The image files of each class, sorted by path."""


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
    held_out: bool
    """Whether the test images were chosen by rule."""


def label_files(found: dict[str, ClassFiles], source: Path, rule: SplitRule) -> LabelledFiles:
    """The images of both splits with their classes; raises `SourceError` when a class has none."""
    if held_out := "test" not in found:
        found["train"], found["test"] = hold_out(found["train"], rule)
    if missing := sorted(found["test"].keys() - found["train"].keys()):
        raise SourceError(
            f"{source} has test images but no training images of {', '.join(missing)}."
        )
    classes = tuple(sorted(found["train"], key=_natural_order))
    if len(classes) < 2:
        raise SourceError(
            f"{source} has 1 class, {classes[0]}: it needs at least two, in a folder at least two "
            "subfolders with images, named after the classes, in itself or in train and test."
        )
    order = np.random.default_rng(rule.seed)
    splits = {}
    for split in SPLITS:
        labelled = [(p, i) for i, c in enumerate(classes) for p in found[split].get(c, ())]
        splits[split] = [labelled[k] for k in order.permutation(len(labelled))]
    return LabelledFiles(classes=classes, splits=splits, held_out=held_out)


def find_classes(folder: Path) -> dict[str, ClassFiles]:
    """The classes of `train`, and of `test` when the folder has test or validation images.

    Tells what it passes over, and what becomes of validation images. Raises `SourceError` for a
    folder that is laid out otherwise.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder of images.")
    try:
        listing = list_images(folder, follow_links=True)
        places = find_splits(folder, listing)
        found = {split: read_classes(folder, name, listing) for split, name in places.items()}
    except OSError as error:
        where, why = printable(str(error.filename)), error.strerror
        raise SourceError(f"The folder {where} cannot be read ({why}).") from None
    taken = sum(len(paths) for classes in found.values() for paths in classes.values())
    told = describe_passed_over(
        {**listing.passed_over, "unclassed_images": len(listing.files) - taken}, listing.other_files
    )
    if told:
        log.info("Passed over: %s.", told)
    return settle_validation(found, places)


def settle_validation(
    found: dict[str, ClassFiles], places: Mapping[str, str]
) -> dict[str, ClassFiles]:
    """Have validation images test where there are no others for that, else train."""
    if "validation" not in found:
        return found
    validation, name = found.pop("validation"), places["validation"]
    if "test" not in found:
        log.info("The images in %s are the test images: there is no folder test.", name)
        return {**found, "test": validation}
    log.info("The images in %s train, too; those in %s are for test.", name, places["test"])
    for class_, paths in validation.items():
        found["train"].setdefault(class_, []).extend(paths)
    return found


def find_splits(folder: Path, listing: Listing) -> dict[str, str]:
    """The subfolder of each split; without splits `train` is the folder itself, "".

    A folder `train` that holds images itself, among others and without a `test`, is a class.
    """
    names = subfolders(folder, follow_links=True)
    places: dict[str, str] = {}
    for name in names:
        split = split_called(name)
        if split in places:
            raise SourceError(
                f"{folder} has two folders for {split}, {places[split]} and {name}: join them."
            )
        if split:
            places[split] = innermost(folder, name, split)
    if "train" in places and len(places) > 1:
        return places
    holding = {file.partition("/")[0] for file in listing.files if file.count("/") == 1}
    if not places or (len(names) > len(places) and holding.issuperset(places.values())):
        return {"train": ""}
    present = " and ".join(places.values())
    if "train" not in places:
        raise SourceError(f"{folder} has a folder {present} but no folder train beside it.")
    raise SourceError(
        f"{folder} has a folder {present} but no folder test beside it: name "
        f"folder:{folder / present} to have a share of its images held out for test."
    )


def innermost(folder: Path, place: str, split: str) -> str:
    """The folder of a split; archives often hold it in one that is called like it: test/test."""
    inside = subfolders(folder / place, follow_links=True)
    if len(inside) == 1 and split_called(inside[0]) == split:
        return innermost(folder, f"{place}/{inside[0]}", split)
    return place


def read_classes(folder: Path, split: str, listing: Listing) -> ClassFiles:
    """The classes of a split: its subfolders, with all images below them."""
    place = folder / split
    prefix = f"{split}/" if split else ""
    found: ClassFiles = {name: [] for name in subfolders(place, follow_links=True)}
    if not found:
        loose = sum(file.startswith(prefix) for file in listing.files)
        told = describe_passed_over(
            {**listing.passed_over, "unclassed_images": loose}, listing.other_files
        )
        raise SourceError(
            f"{place} has no subfolders: the images of each class go into one of its name"
            f"{f' (passed over: {told})' if told else ''}."
        )
    for file in listing.files:
        if file.startswith(prefix):
            name, inside, _ = file[len(prefix) :].partition("/")
            if inside:
                found[name].append(folder / file)
    if empty := [printable(name) for name, paths in found.items() if not paths]:
        told = describe_passed_over(listing.passed_over, listing.other_files)
        raise SourceError(
            f"{place} has no images ({IN_WORDS}) in {brief(empty)}: add some or remove "
            f"{'that folder' if len(empty) == 1 else 'those folders'}"
            f"{f' (passed over: {told})' if told else ''}."
        )
    note_subfolders(place, found)
    return join_same(place, found)


def note_subfolders(place: Path, found: ClassFiles) -> None:
    """Say so if the folders in every class have the same names: they may have been meant."""
    inside = [
        {path.relative_to(place / name).parts[0] for path in paths if path.parent != place / name}
        for name, paths in found.items()
    ]
    if len(shared := sorted(set.intersection(*inside))) > 1:
        log.info(
            "Each of the classes %s has the folders %s: all images below a class are its. "
            "If those are the classes, call the folders above them train and test.",
            brief(sorted(map(printable, found))),
            brief([printable(name) for name in shared]),
        )


def join_same(place: Path, found: ClassFiles) -> ClassFiles:
    """The same classes by their canonical names; folders that only differ in these are one class.

    Raises `SourceError` for a folder whose name cannot be that of a class.
    """
    classes: ClassFiles = {}
    for folder, paths in found.items():
        name = canonical(folder)
        if not name or printable(folder) != folder:
            raise SourceError(
                f"{place} has a folder {printable(folder)!r}: that cannot be the name of a class, "
                "which is text in UTF-8 and not blank."
            )
        if name in classes:
            log.info("Two folders are called %s, written differently: they are one class.", name)
        classes.setdefault(name, []).extend(paths)
    return classes


def hold_out(classes: ClassFiles, rule: SplitRule) -> tuple[ClassFiles, ClassFiles]:
    """Training and test images: of each class at least one for test and never all of them."""
    chooser = np.random.default_rng(rule.seed)
    train: ClassFiles = {}
    test: ClassFiles = {}
    for name, paths in classes.items():
        if len(paths) < 2:
            raise SourceError(
                f"{printable(name)} has only one image: one to train and one to test are needed."
            )
        count = min(max(1, round(rule.test_share * len(paths))), len(paths) - 1)
        chosen = set(chooser.permutation(len(paths))[:count].tolist())
        test[name] = [path for i, path in enumerate(paths) if i in chosen]
        train[name] = [path for i, path in enumerate(paths) if i not in chosen]
    return train, test


def brief(names: Sequence[str], most: int = 10) -> str:
    """Names for a sentence, cut short when they are many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if names[most:] else "")


def _natural_order(name: str) -> tuple[int, int, str]:
    """Numbers by value, then words by alphabet: 2 before 10."""
    return (0, int(name), "") if name.isascii() and name.isdigit() else (1, 0, name)
