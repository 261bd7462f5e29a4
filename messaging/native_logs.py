"""Keeps the start-up chatter of native libraries out of a program's log.

TensorFlow prints a dozen lines about CPUs and absent GPUs straight to file descriptor 2, before
any setting of its own can stop it.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def native_logs_held_back() -> Iterator[None]:
    """Hold back what is written to file descriptor 2; it is shown when the block raises."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
