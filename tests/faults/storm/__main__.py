"""A storm of random faults over one job: nothing lost, nothing double, nothing unexplained.

    python -m tests.faults.storm --seed 1            200 faults over 100,000 images
    python -m tests.faults.storm --faults 20         a short one

Real workers, a trainer, a real Redis, and a ledger that the system cannot touch: the predictions
of every image computed beforehand by Keras itself, and a list of every fault done. Prints what it
did and what it cost; exit code 1 when a record is missing, doubled or wrong, when an attempt was
made that no fault explains, or when the broker does not end empty.
"""

import argparse
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.faults.storm.rage import rage


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.storm",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--images", type=int, default=100_000)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="batchsight-storm-"))
    say = partial(print, flush=True)
    verdict = rage(folder, options.seed, options.faults, options.images, say)
    if not verdict.good:
        sys.exit(f"The logs of all programs are in {folder}.")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
