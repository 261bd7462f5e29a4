"""A short storm. `make storm SEED=...` runs a long one."""

from pathlib import Path

import pytest

from tests.faults.storm import rage


@pytest.mark.timeout(900)
def test_twenty_random_faults_lose_and_double_nothing(tmp_path: Path) -> None:
    lines: list[str] = []
    # Slow batches, so that the job does not end before the last fault is done.
    verdict = rage(
        tmp_path, seed=20, faults=20, images=30_000, say=lines.append, seconds_per_call=1.0
    )
    print("\n".join(lines))
    assert verdict.faults == 20
    assert verdict.good, "\n".join(lines)
