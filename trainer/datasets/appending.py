"""Adds labelled images to the training split of a data set, as its next version.

Which images are the same is told by the digest of their pixels. No test image gets into training.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.fingerprints import fingerprints
from storage.datasets.store import Appended, DataSet, DataSetDraft, DatasetStore, Labels, parent_of
from storage.files import check_name
from trainer.datasets.arrays import LabelledImages

Read = Callable[[DataSet, DataSetDraft], LabelledImages]
"""Gives the new images for a data set, labelled with its class indices. The draft is a place to
put them; it is thrown away."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an append came to, in images."""

    dataset: DataSet
    """The next version; the present one when nothing is new."""
    added: int
    corrected: int
    """In training already, with another label: they have the new one now."""
    duplicates: int
    """In training already with the same label, or more than once in the source."""
    held_out: int
    """Not taken: they are test images."""

    def __str__(self) -> str:
        counts = [f"{self.added:,} image{'' if self.added == 1 else 's'} added"]
        if self.corrected:
            counts.append(f"{self.corrected:,} corrected")
        if self.duplicates:
            what = "a duplicate" if self.duplicates == 1 else "duplicates"
            counts.append(f"{self.duplicates:,} dropped as {what}")
        if self.held_out:
            dropped = "" if self.duplicates else "dropped "
            because = "it is a test image" if self.held_out == 1 else "they are test images"
            counts.append(f"{self.held_out:,} {dropped}because {because}")
        return f"Data set {self.dataset}: {', '.join(counts)}."


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What of some new images is to be done to the training split."""

    added: NDArray[np.int64]
    """Rows of the new images to append, ascending."""
    labels: Labels
    """The labels of the images that are there already, corrected."""
    corrected: int
    duplicates: int
    held_out: int


def append_images(store: DatasetStore, name: str, source: str, read: Read) -> Outcome:
    """Add what `read` gives to the newest version of `name`; `source` is noted as its origin.

    Raises `NotFound` for an unknown data set, `Corrupt` for a damaged one.
    """
    check_name(name, "data set name")
    while True:
        present = store.get(name)
        present.verify()
        about = present.description
        with (
            store.draft(about.shape, about.preprocessing) as arrived,
            store.draft(about.shape, about.preprocessing) as draft,
        ):
            new = read(present, arrived)
            choice = choose(present, new)
            counts = {
                "added": len(choice.added),
                "corrected": choice.corrected,
                "duplicates": choice.duplicates,
                "held_out": choice.held_out,
            }
            if not (counts["added"] or counts["corrected"]):
                return Outcome(dataset=present, **counts)
            write(draft, present, new, choice)
            entry = Appended(source=source, added=counts["added"], corrected=counts["corrected"])
            description = draft.describe(
                name,
                about.classes,
                about.origin,
                number=present.number + 1,
                parent=parent_of(present),
                appended=(*about.appended, entry),
            )
            if dataset := store.publish(draft, description):
                return Outcome(dataset=dataset, **counts)
        # Somebody else has added a version meanwhile: add to that one.


def choose(dataset: DataSet, new: LabelledImages) -> Choice:
    """Compare new images with those of a data set. Needs some 50 bytes per image on either side."""
    digests = fingerprints(new.images)
    tested = dataset.in_test(digests)
    candidates = np.flatnonzero(~tested)[::-1]
    # Of an image that comes more than once the last label counts.
    distinct, last = np.unique(digests[candidates], return_index=True)
    rows = candidates[last]
    labels = new.labels[rows].astype(np.int32)

    present, former = fingerprints(dataset.images("train")), np.array(dataset.labels("train"))
    known = np.isin(distinct, present)
    corrected, wrong = former, np.zeros(len(distinct), np.bool_)
    if known.any():
        place = np.searchsorted(distinct, present).clip(max=len(distinct) - 1)
        corrected = np.where(distinct[place] == present, labels[place], former)
        wrong[place[corrected != former]] = True
    added = np.sort(rows[~known])
    return Choice(
        added=added,
        labels=corrected,
        corrected=int(wrong.sum()),
        duplicates=len(candidates) - len(added) - int(wrong.sum()),
        held_out=int(tested.sum()),
    )


def write(draft: DataSetDraft, parent: DataSet, new: LabelledImages, choice: Choice) -> None:
    """Write the next version; what stays the same is taken from the parent as it is."""
    for split in parent.description.splits:
        if split != "train":
            draft.keep_split(split, parent)
    count = len(choice.labels)
    if len(choice.added):
        images = draft.add_images("train", count + len(choice.added))
        images[:count] = parent.images("train")
        np.take(new.images, choice.added, axis=0, out=images[count:], mode="clip")
    else:
        draft.keep_images("train", parent)
    labels = draft.add_labels("train", count + len(choice.added))
    labels[:count] = choice.labels
    labels[count:] = new.labels[choice.added]
