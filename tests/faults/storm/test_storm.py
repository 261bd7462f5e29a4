"""A short storm. `make storm SEED=...` runs a long one."""

from pathlib import Path

import pytest

from tests.faults.storm.rage import rage
from tests.faults.storm.strikes import KINDS


@pytest.mark.timeout(600)
def test_a_fault_of_each_kind_loses_doubles_and_leaves_nothing(tmp_path: Path) -> None:
    lines: list[str] = []
    verdict = rage(tmp_path, seed=20, faults=len(KINDS), images=16_000, say=lines.append)
    print("\n".join(lines))
    assert verdict.faults == len(KINDS)
    assert verdict.good, "\n".join(lines)
    if left_out := [line.strip() for line in lines if "LEFT OUT" in line]:
        pytest.skip("; ".join(left_out))
