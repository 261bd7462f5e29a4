"""What is told of work that lasts."""

import subprocess
import sys

from tests.processes import REPOSITORY
from tests.terminal import lines_on_terminal

PROGRAM = """
import sys, time
from console.output import say
from console.waiting import waiting_for

with waiting_for("Reading the images of " + 30 * "photographs/"):
    time.sleep(float(sys.argv[1]))
    say("Nearly.")
say("Done.")
time.sleep(1.2)
"""


def test_a_terminal_is_told_what_lasts_and_for_how_long() -> None:
    lines = lines_on_terminal(PROGRAM, "3.5", columns=80, descriptor=2)
    first, second, nearly, last = filter(None, lines)
    assert first.startswith("Reading the images of photographs/")
    assert (first[-8:], second[-8:]) == (" ... 2 s", " ... 3 s")
    assert len(first) == 79
    assert (nearly, last) == ("Nearly.", "Done.")


def test_what_is_over_soon_needs_no_word() -> None:
    assert lines_on_terminal(PROGRAM, "0.2", columns=80, descriptor=2) == ["Nearly.", "Done."]


def test_without_a_terminal_nothing_is_told() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "2.3"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "Nearly.\nDone.\n"
