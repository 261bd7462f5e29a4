"""Where new images for a data set come from: the sources of `trainer data add`, and `job:JOB`.

Of a source with test images of its own only the training images are taken.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from console.counts import counted
from imaging.errors import ImageError
from storage.class_names import Classes
from storage.datasets.store import DataSet, DataSetDraft, Labels
from storage.files import printable
from storage.jobs.batches import BatchImages
from storage.jobs.corrections import read_corrections
from storage.jobs.inputs import UNLABELLED
from storage.jobs.store import JobStore
from storage.settings import StorageSettings
from trainer.datasets.arrays import LabelledImages
from trainer.datasets.cifar import read_cifar
from trainer.datasets.class_folders import brief, find_classes
from trainer.datasets.idx import read_idx_split
from trainer.datasets.image_folder import decode_files, look_at, name_bad
from trainer.datasets.manifest import read_manifest
from trainer.datasets.sources import KINDS, read_npz_split, with_kind
from trainer.errors import SourceError

log = logging.getLogger(__name__)


class NewImages:
    """A source of labelled images, such as `folder:digits` or `job:first`."""

    def __init__(
        self, source: str, jobs: JobStore, settings: StorageSettings, *, strict: bool = False
    ) -> None:
        source = with_kind(source)
        self._kind, _, self._where = source.partition(":")
        if self._kind not in ("folder", "list", "npz", "idx", "cifar", "job") or not self._where:
            raise SourceError(
                f"{source!r} is no folder and no source of images: write {KINDS}, or job:JOB."
            )
        self._path = Path(self._where).expanduser().resolve()
        self._jobs = jobs
        self._settings = settings
        self._strict = strict
        self.origin = source if self._kind == "job" else f"{self._kind}:{self._path}"

    def read(self, dataset: DataSet, arrived: DataSetDraft) -> LabelledImages:
        """The images as a data set needs them, labelled with its class indices.

        Raises `SourceError` for another shape or a class that the data set does not have.
        """
        names: tuple[str, ...] = ()
        match self._kind:
            case "job":
                return self._read_job(dataset, arrived)
            case "folder" | "list":
                return self._read_folder(dataset, arrived)
            case "idx":
                part = read_idx_split(self._path, "train", self.origin)
            case "npz":
                part, names = read_npz_split(self._path, "train", self.origin)
            case _:
                whole = read_cifar(self._path, self.origin)
                part, names = whole.train, whole.classes
        return self._checked(part, names, dataset)

    def _read_folder(self, dataset: DataSet, arrived: DataSetDraft) -> LabelledImages:
        read = read_manifest if self._kind == "list" else find_classes
        classes = read(self._path)["train"]
        position = self._class_positions(list(classes), dataset)
        files = [(path, position[name]) for name, paths in classes.items() for path in paths]
        survey = look_at((path for path, _ in files), self._settings)
        new = decode_files(arrived, "train", files, survey, self._settings)
        survey.settle_bad(self._path, strict=self._strict)
        survey.tell_several()
        height, width, channels = arrived.shape
        if told := survey.describe(arrived.shape, arrived.preprocessing.resize):
            log.info("Brought to %d x %d (H x W) like the data set: %s.", height, width, told)
        if survey.coloured and channels == 1:
            counts = f"{survey.coloured:,} of {counted(len(files), 'image')}"
            log.info("Made grey like the data set: %s.", counts)
        return new

    def _read_job(self, dataset: DataSet, arrived: DataSetDraft) -> LabelledImages:
        """The images of a job that people have labelled, as its workers saw them."""
        stored = self._jobs.open(self._where)
        job, given = stored.job, read_corrections(stored)
        chosen = np.flatnonzero(given != UNLABELLED)
        if not len(chosen):
            raise SourceError(
                f"Job {job.id} has no labelled images: `producer label {job.id} FILE.csv` gives "
                "labels to them."
            )
        names = [job.labels[i] for i in np.unique(given[chosen]).tolist()]
        position = self._class_positions(names, dataset)
        images, labels = arrived.add_split("train", len(chosen))
        count, bad = 0, {}
        for batch in np.unique(chosen // job.batch_size).tolist():
            span = job.span(batch)
            reader = BatchImages(
                stored, batch, arrived.shape, arrived.preprocessing, self._settings
            )
            for i in chosen[(chosen >= span.start) & (chosen < span.stop)].tolist():
                try:
                    images[count] = reader.read(i - span.start)
                except ImageError as error:
                    bad[printable(reader.name(i - span.start))] = str(error)
                else:
                    labels[count] = position[job.labels[given[i]]]
                    count += 1
        if bad:
            images_of_job = f"{len(bad):,} image{'' if len(bad) == 1 else 's'} of job {job.id}"
            log.warning("Left out: %s: %s.", images_of_job, name_bad(bad))
        return LabelledImages(images=images[:count], labels=labels[:count])

    def _checked(
        self, part: LabelledImages, names: Sequence[str], dataset: DataSet
    ) -> LabelledImages:
        """Arrays, once their shape and labels fit; `names` are those of their classes, if any."""
        if len(part.images) != len(part.labels):
            raise SourceError(
                f"{self.origin} has {counted(len(part.images), 'image')} and "
                f"{counted(len(part.labels), 'label')}: "
                "it needs equally many of both."
            )
        if part.images.shape[1:] != dataset.description.shape:
            here, there = (
                " x ".join(map(str, shape))
                for shape in (part.images.shape[1:], dataset.description.shape)
            )
            raise SourceError(
                f"The images of {self.origin} are {here}, those of data set {dataset.name} {there}:"
                " bring them to that size, or give them as a folder, whose images are fitted."
            )
        return LabelledImages(images=part.images, labels=self._indices(part.labels, names, dataset))

    def _indices(
        self, labels: NDArray[np.integer], names: Sequence[str], dataset: DataSet
    ) -> Labels:
        """Labels (N,) as the data set's class indices.

        Without `names` a number is what `Classes.of_number` takes it for, whichever others occur.
        """
        classes = dataset.description.classes
        values, inverse = np.unique(labels, return_inverse=True)
        if names and not all(0 <= value < len(names) for value in values.tolist()):
            raise SourceError(
                f"The labels of {self.origin} go from {values[0]} to {values[-1]}: they must be "
                f"class indices from 0 to {len(names) - 1}."
            )
        if names:
            known = [names[value] for value in values.tolist()]
        else:
            places = {value: Classes(classes).of_number(value) for value in values.tolist()}
            known = [str(v) if place is None else classes[place] for v, place in places.items()]
        position = self._class_positions(known, dataset)
        return np.array([position[name] for name in known], np.int32)[inverse]

    def _class_positions(self, names: Sequence[str], dataset: DataSet) -> dict[str, int]:
        """Index of each class of the data set; raises `SourceError` for names beyond them."""
        classes = Classes(dataset.description.classes)
        if strange := [name for name in names if name not in classes]:
            raise SourceError(
                f"{self.origin} has images of {brief(strange)}, which data set {dataset.name} does "
                f"not have (it has {brief(list(classes))}): make a data set of all classes, with "
                "`trainer data add NAME folder:DIR`."
            )
        return {name: classes[name] for name in names}
