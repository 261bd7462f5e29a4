"""What is told in lines of whole words, on a terminal."""

import os
import subprocess
import sys

import pytest

from tests.processes import REPOSITORY
from tests.terminal import lines_on_terminal

COMMAND = "`producer status 20261124-222120-57d0d0 --follow`"
PATH = "/a/long/path-to/somewhere/that-is/longer-than/all-of/the/terminal/is-wide/a b.png"
SENTENCE = (
    "Passed over: 1 .jxl (no supported format), 1 hidden file, 1 link to a folder. "
    f"{COMMAND} returns to the job, and {PATH} cannot be read."
)
PROGRAM = "import sys; from console.output import say; say(sys.argv[1], result=sys.argv[2] == '1')"


def told(text: str, *, descriptor: int, columns: int) -> list[str]:
    return lines_on_terminal(PROGRAM, text, str(descriptor), descriptor=descriptor, columns=columns)


@pytest.mark.parametrize("descriptor", [1, 2])
@pytest.mark.parametrize("columns", [40, 80])
def test_a_terminal_gets_whole_words_commands_and_paths(descriptor: int, columns: int) -> None:
    lines = told(SENTENCE, descriptor=descriptor, columns=columns)
    assert " ".join(lines) == SENTENCE
    assert len(lines) > 2
    too_long = [line for line in lines if len(line) > columns]
    assert all(line in (COMMAND, PATH.partition(" ")[0]) for line in too_long)
    assert any(COMMAND in line for line in lines)


def test_a_terminal_gets_lines_as_they_are_that_fit() -> None:
    lines = ["epoch 1/5   accuracy 0.9", "", "  indented"]
    assert told("\n".join(lines), descriptor=2, columns=80) == lines


def test_a_pipe_gets_a_sentence_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, SENTENCE, "2"],
        cwd=REPOSITORY,
        env={**os.environ, "COLUMNS": "40"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == f"{SENTENCE}\n"
