"""How the doctor looks at shared storage."""

from pathlib import Path

from producer.doctor.probes.storage import look_at_storage
from storage.identity import ID_FILE


def test_storage_below_a_file_is_found_unusable_and_storage_is_left_clean(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert look_at_storage(tmp_path / "file" / "root").problem == "Not a directory"
    facts = look_at_storage(tmp_path / "root")
    assert facts.problem is None
    left = [path for path in (tmp_path / "root").rglob("*") if path.is_file()]
    assert left == [tmp_path / "root" / ID_FILE]
