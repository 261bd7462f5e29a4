"""Whether this program is alive, for the health check of its container.

Its main loop touches the file named by BATCHSIGHT_HEALTH_FILE; `python -m messaging.health` exits
with 0 when that was done lately. A busy worker's main process goes on touching it, a hung one does
not. The check imports nothing of ours, Celery or TensorFlow: it costs some 50 ms.
"""

import os
import sys
import time
from pathlib import Path

VARIABLE = "BATCHSIGHT_HEALTH_FILE"
FRESH_SECONDS = 20.0
"""Ten heartbeats of a Celery worker, four rounds of beat."""


def send_heartbeat(*_: object, **__: object) -> None:
    """Touch the file, if one is named. Takes any arguments, so that it can receive a signal."""
    if name := os.environ.get(VARIABLE):
        Path(name).touch()


def main() -> int:
    """The exit code, with a sentence on stdout, which `docker inspect` shows."""
    path = Path(os.environ.get(VARIABLE, ""))
    if not path.is_file():
        print(f"No heartbeat yet: {VARIABLE} is {str(path)!r}.")
        return 1
    age = time.time() - path.stat().st_mtime
    print(f"The last heartbeat is {age:.0f} s old.")
    return int(age > FRESH_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
