"""Reads README.md: the commands it shows, what it says they print, and its tables.

In a ```console block each line that begins with `$ ` is a command and the lines up to the next one
are what it prints, on stdout and stderr. It ends with exit code 0 unless `$ echo $?` follows.
`...` stands for any lines, or for the rest of a line. Figures that differ from run to run (decimal
numbers, times, rates, ids) and the width of columns are not compared; all other text is.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tests.processes import REPOSITORY

README = REPOSITORY / "README.md"
HOME = "/home/me/batchsight"
"""Where the README's user works."""

VOLATILE = {
    "<phases>": r"  time {8}.*",
    "<run>": r"train-[0-9a-f]{12}",
    "<job>": r"(demo-)?\d{8}-\d{6}(-[0-9a-f]{6})?",
    "<time>": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d[\d:.]*Z?",
    "<seconds> s": r"\b[\d.]+ s\b",
    "<rate>": r"[\d,.]+ images/s",
    "<count> right that": r"[\d,]+ right that\b",
    "<count> the other way, p <number>": r"[\d,]+ the other way, p [\d.e-]+\d",
    "<number>": r"\d+\.\d+(e-\d+)?",
    "<host> trains it.": r"\S+ trains it\.",
}
PROGRESS = re.compile(r"[\d,]+ of [\d,]+ images, [\d,]+/s")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of the README."""

    line: int
    command: str
    prints: tuple[str, ...]
    exit_code: int

    def __str__(self) -> str:
        return f"README.md:{self.line} $ {self.command}"


def blocks(language: str) -> Iterator[tuple[int, list[str]]]:
    """Line number of the first line, and lines, of each fenced block."""
    block: list[str] | None = None
    fence = ""
    for number, line in enumerate(README.read_text("utf-8").splitlines(), 1):
        if line.startswith("```"):
            if block is None:
                block, fence = [], line[3:]
            else:
                if fence == language:
                    yield number - len(block), block
                block = None
        elif block is not None:
            block.append(line)


@cache
def steps() -> list[Step]:
    """All commands of the README, in order."""
    found: list[Step] = []
    for first, lines in blocks("console"):
        shown: list[tuple[int, str, list[str]]] = []
        for number, line in enumerate(lines, first):
            if line.startswith("$ "):
                shown.append((number, line[2:], []))
            else:
                shown[-1][2].append(line)
        for i, (number, command, prints) in enumerate(shown):
            if command == "echo $?":
                continue
            follows = shown[i + 1] if i + 1 < len(shown) else None
            code = int(follows[2][0]) if follows and follows[1] == "echo $?" else 0
            found.append(Step(line=number, command=command, prints=tuple(prints), exit_code=code))
    return found


def stable(text: str) -> list[str]:
    """The lines of a text without what differs from run to run."""
    for name, pattern in VOLATILE.items():
        text = re.sub(pattern, name, text)
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line for line in lines if line and not PROGRESS.fullmatch(line)]


def agrees(documented: str, printed: str) -> bool:
    """Whether a program has printed what the README says."""
    pattern = "".join(
        r"(.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n"
        for line in stable(documented)
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in stable(printed))) is not None


def started_by_hand() -> list[str]:
    """The commands that the README starts in shells of their own."""
    (block,) = [lines for _, lines in blocks("sh") if lines[0].startswith("redis-server")]
    return block


def table(first_column: str) -> list[tuple[str, ...]]:
    """The rows of the table whose first column has this title."""
    lines = iter(README.read_text("utf-8").splitlines())
    for line in lines:
        if line.startswith(f"| {first_column} |"):
            next(lines)
            rows: list[tuple[str, ...]] = []
            for row in lines:
                if not row.startswith("|"):
                    return rows
                rows.append(tuple(cell.strip() for cell in row.strip("|").split("|")))
    raise AssertionError(f"README.md has no table of {first_column}.")
