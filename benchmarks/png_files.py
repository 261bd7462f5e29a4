"""PNG files: what decoding alone takes, with Pillow on all cores and with other decoders on one.

PEERS_PYTHON benchmarks/peers/decoders.py FOLDER      for those decoders that are not installed
"""

import io
import multiprocessing
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.bench_system import CORES, BenchSystem
from storage.datasets.store import DatasetStore

FILES = 60_000


def png_folder(system: BenchSystem, count: int = FILES, *, stored: bool = True) -> Path:
    """The training images of MNIST as PNG files, on shared storage or outside it.

    More than there are begin again, and lie in subfolders.
    """
    place = system.root if stored else system.root.parent / f"{system.root.name}-outside"
    folder = place / f"png-{count}"
    if not folder.exists():
        draft = folder.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for first in range(0, count, FILES):
            part = draft / f"{first // FILES:03d}" if count > FILES else draft
            part.mkdir(exist_ok=True)
            for i, content in enumerate(encoded(system, min(FILES, count - first)), first):
                (part / f"{i:07d}.png").write_bytes(content)
        draft.rename(folder)
    return folder


def encoded(system: BenchSystem, count: int) -> Iterator[bytes]:
    """The first training images as PNG files."""
    for image in DatasetStore(system.root).get("mnist").images("train")[:count]:
        buffer = io.BytesIO()
        Image.fromarray(image[..., 0]).save(buffer, "PNG")
        yield buffer.getvalue()


def decode_on_all_cores(folder: Path) -> float:
    """Files per second with Pillow, as everybody writes it; the processes are warm."""
    paths = [str(path) for path in folder.iterdir()]
    with multiprocessing.get_context("spawn").Pool(CORES) as pool:
        pool.map(decode, [paths[:10]] * CORES, chunksize=1)
        began = time.perf_counter()
        counts = pool.map(decode, [paths[i::CORES] for i in range(CORES)], chunksize=1)
        seconds = time.perf_counter() - began
    assert sum(counts) == len(paths)
    return len(paths) / seconds


def decode(paths: Sequence[str]) -> int:
    """Read and decode files; returns how many."""
    for path in paths:
        with Image.open(path) as image:
            np.asarray(image)
    return len(paths)


def decode_together(folder: Path) -> float:
    """Files per second on one core as a worker decodes them, reading included."""
    from imaging.decoding.pngs import decode_plain_pngs
    from imaging.images import decode_image

    shape, paths = (28, 28, 1), sorted(folder.iterdir())[:10_000]
    pixels = np.empty((500, *shape), np.uint8)
    began = time.process_time()
    for first in range(0, len(paths), len(pixels)):
        contents = [path.read_bytes() for path in paths[first : first + len(pixels)]]
        decoded = decode_plain_pngs(dict(enumerate(contents)), shape, pixels)
        assert len(decoded) == len(contents)
    seconds = time.process_time() - began
    np.testing.assert_array_equal(pixels[-1], decode_image(contents[-1], shape))
    return len(paths) / seconds
