"""What `make install` says when all is there."""

import shutil
import subprocess
from pathlib import Path

from tests.processes import REPOSITORY


def test_install_ends_with_the_next_command_to_type(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "locks/dev.txt", ".venv/bin/python", ".venv/.ready"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    (tmp_path / ".venv" / ".ready").touch()
    done = subprocess.run(
        ["make", "--no-print-directory", "install"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (".venv is ready. Next: . .venv/bin/activate && python -m local up\n")


def test_its_help_fits_80_columns() -> None:
    done = subprocess.run(
        ["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert any(line.startswith("  make install ") for line in lines)
    assert max(map(len, lines)) <= 80
