"""PNG decoders on one core, for whom Pillow is too slow. All must give Pillow's pixels.

    python peers/decoders.py FOLDER

Prints a JSON object: files per second by decoder, reading included. Imports nothing of batchsight.
"""

import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pyspng
from PIL import Image

DECODERS: dict[str, Callable[[bytes], Any]] = {
    "Pillow": lambda content: np.asarray(Image.open(io.BytesIO(content))),
    "OpenCV": lambda content: cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED),
    "imagecodecs": imagecodecs.png_decode,
    "pyspng": lambda content: np.squeeze(pyspng.load(content)),
}


def main(folder: Path) -> dict[str, float]:
    """Files per second of CPU time by decoder."""
    paths = [str(path) for path in sorted(folder.iterdir())[:10_000]]
    speeds = {}
    for name, decode in DECODERS.items():
        content = Path(paths[0]).read_bytes()
        assert (decode(content) == DECODERS["Pillow"](content)).all(), name
        began = time.process_time()
        for path in paths:
            with open(path, "rb") as file:  # noqa: PTH123 (pathlib would cost as much as OpenCV)
                decode(file.read())
        speeds[name] = len(paths) / (time.process_time() - began)
    return speeds


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
