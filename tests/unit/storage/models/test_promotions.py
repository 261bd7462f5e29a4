"""The verdict beside a version's manifest."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage.models.promotions import (
    PROMOTION_FILE,
    Override,
    Promotion,
    read_promotion,
    write_promotion,
)
from storage.models.store import ModelStore
from tests.builders import PIN, publish
from trainer.settings import TrainerSettings

NOW = datetime(2026, 3, 1, tzinfo=UTC)
REFUSED = Promotion(
    passed=False,
    reason="it is worse",
    candidate=PIN,
    champion=None,
    dataset=None,
    dataset_sha256=None,
    thresholds=TrainerSettings().thresholds,
    judged_at=NOW,
)
OVERRIDE = Override(by="ann@host", at=NOW, passed=False, reason="it is worse")


def test_a_later_verdict_replaces_the_earlier_one_and_keeps_all_overrides(tmp_path: Path) -> None:
    version = publish(ModelStore(tmp_path))
    assert read_promotion(version) is None
    write_promotion(version, REFUSED)
    assert read_promotion(version) == REFUSED
    again = OVERRIDE.model_copy(update={"by": "bob@host"})
    for override in (OVERRIDE, again):
        write_promotion(version, REFUSED, override)
    passed = REFUSED.model_copy(update={"passed": True, "reason": "it is better"})
    write_promotion(version, passed)
    assert read_promotion(version) == passed.model_copy(update={"overrides": (OVERRIDE, again)})
    names = {path.name for path in version.folder.iterdir()}
    assert names == {"model.keras", "manifest.json", PROMOTION_FILE}


@pytest.mark.parametrize("content", [b"", b"{", b'{"passed": true}', b"\xff"])
def test_an_unreadable_verdict_is_none(tmp_path: Path, content: bytes) -> None:
    version = publish(ModelStore(tmp_path))
    (version.folder / PROMOTION_FILE).write_bytes(content)
    assert read_promotion(version) is None
    write_promotion(version, REFUSED)
    assert read_promotion(version) == REFUSED
