"""A short storm. `make storm SEED=...` runs a long one."""

from pathlib import Path

import pytest

from tests.faults.storm import rage


@pytest.mark.timeout(900)
def test_twenty_random_faults_lose_and_double_nothing(tmp_path: Path) -> None:
    lines: list[str] = []
    verdict = rage(tmp_path, seed=20, faults=20, images=15_000, say=lines.append)
    print("\n".join(lines))
    assert verdict.faults == 20
    assert verdict.good, "\n".join(lines)
