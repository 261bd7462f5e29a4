"""Runs a contestant as a program of its own, and watches its memory."""

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psutil

from benchmarks.photographs.measurement import Figures

SAMPLE_SECONDS = 0.1


class Peak:
    """Resident memory of the largest of some processes, as far as it was seen."""

    def __init__(self) -> None:
        self.megabytes = 0.0

    @contextmanager
    def watching(self, find: Callable[[], Sequence[psutil.Process]]) -> Iterator[None]:
        """Look again and again while a block runs."""
        stop = threading.Event()

        def look() -> None:
            while not stop.wait(SAMPLE_SECONDS):
                for process in find():
                    try:
                        size = process.memory_info().rss / 1e6
                    except psutil.Error:
                        continue
                    self.megabytes = max(self.megabytes, size)

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def run(*command: object) -> Figures:
    """Run a program whose last line is JSON: the moments `ready`, `first` and `done`.

    Moments are seconds since 1970: `ready` is when all its processes have the model, `first` when
    the first prediction is there, `done` when all are. Raises `RuntimeError` when it fails.
    """
    peak = Peak()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        began = time.time()
        with (
            subprocess.Popen(
                [str(part) for part in command],
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
                stdout=output,
                stderr=errors,
            ) as process,
            peak.watching(lambda: family(process.pid)),
        ):
            process.wait()
        seconds = time.time() - began
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(f"{command}: {errors.read()[-2000:]}")
        output.seek(0)
        moments = json.loads(output.read().splitlines()[-1])
    return Figures(
        seconds=seconds,
        ready=moments["ready"] - began,
        first=moments["first"] - began,
        working=moments["done"] - moments["ready"],
        megabytes=peak.megabytes,
    )


def family(pid: int) -> Sequence[psutil.Process]:
    """A process and all that it has started."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []
