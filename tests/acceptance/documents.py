"""Reads documents: the commands they show, what they say these print, and their tables.

In a ```console block each line that begins with `$ ` is a command, continued in lines that begin
with `> `; the lines up to the next one are what it prints, on stdout and stderr. It ends with exit
code 0 unless `$ echo $?` follows. A ```python block is a program, and a ```text block right after
it is what that prints. `...` stands for any lines, or for the rest of a line. Figures that differ
from run to run (times, rates, ids, most decimal numbers) and the width of columns are not compared.
Accuracies are, to within `TOLERANCE`, and all other text exactly.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.processes import REPOSITORY

HOME = "/home/me/batchsight"
"""Where the reader works."""

VOLATILE = {
    "<phases>": r"  time {8}.*",
    "<run>": r"train-[0-9a-f]{12}",
    "<job>": r"(demo-)?\d{8}-\d{6}(-[0-9a-f]{6})?",
    "<time>": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d[\d:.]*Z?",
    "<date>": r"\b\d{4}-\d\d-\d\d\b",
    "<seconds> s": r"\b[\d.]+ s\b",
    "<rate>": r"[\d,.]+ images/s",
    "<count> right that": r"[\d,]+ right that\b",
    "<count> the other way, p <number>": r"[\d,]+ the other way, p [\d.e-]+\d",
    "<number>": r"\d+\.\d+(e-\d+)?",
    "<host> trains it.": r"\S+ trains it\.",
    "by <user>@<host>,": r"\bby \S+@\S+,",
}
ACCURACY = re.compile(r"(accuracy\W+)(\d)\.(\d+)")
TOLERANCE = 0.02
"""How far an accuracy may be from the documented one: trainings differ between processors."""
PROGRESS = re.compile(r"[\d,]+ of [\d,]+ images, [\d,]+/s")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: its language, its lines, and the line of the document it begins on."""

    line: int
    language: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something the reader runs, as a command line of bash."""

    place: str
    command: str
    prints: tuple[str, ...]
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True)
class Document:
    """One Markdown file."""

    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    def blocks(self, language: str | None = None) -> Iterator[Block]:
        """All fenced blocks, or those of one language, in order."""
        fence = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
        for found in fence.finditer(self.text):
            if language in (None, found[1]):
                yield Block(
                    line=self.text.count("\n", 0, found.start(2)) + 1,
                    language=found[1],
                    lines=tuple(found[2].splitlines()),
                )

    def steps(self) -> Iterator[Step]:
        """All that the reader runs, in order."""
        end = Block(line=0, language="", lines=())
        for block, following in pairwise([*self.blocks(), end]):
            if block.language == "console":
                yield from self._commands(block)
            elif block.language == "python":
                yield Step(
                    place=f"{self.path.name}:{block.line}",
                    command=shlex.join(["python", "-c", "\n".join(block.lines)]),
                    prints=following.lines if following.language == "text" else ("...",),
                )

    def _commands(self, block: Block) -> Iterator[Step]:
        shown: list[tuple[int, list[str], list[str]]] = []
        for number, line in enumerate(block.lines, block.line):
            if line.startswith("$ "):
                shown.append((number, [line[2:]], []))
            elif line.startswith("> ") and not shown[-1][2]:
                shown[-1][1].append(line[2:])
            else:
                shown[-1][2].append(line)
        asked = ["echo $?"]
        for (number, command, prints), following in pairwise([*shown, (0, [], [])]):
            if command != asked:
                yield Step(
                    place=f"{self.path.name}:{number}",
                    command="\n".join(command),
                    prints=tuple(prints),
                    exit_code=int(following[2][0]) if following[1] == asked else 0,
                )

    def started_by_hand(self) -> list[str]:
        """The commands that are started in shells of their own."""
        (block,) = [b for b in self.blocks("sh") if b.lines[0].startswith("redis-server")]
        return list(block.lines)

    def table(self, first_column: str) -> list[tuple[str, ...]]:
        """The rows of the table whose first column has this title."""
        lines = iter(self.text.splitlines())
        for line in lines:
            if line.startswith(f"| {first_column} |"):
                next(lines)
                rows: list[tuple[str, ...]] = []
                for row in lines:
                    if not row.startswith("|"):
                        return rows
                    rows.append(tuple(cell.strip() for cell in row.strip("|").split("|")))
        raise AssertionError(f"{self.path.name} has no table of {first_column}.")


README = Document(path=REPOSITORY / "README.md")
REFERENCE = [
    Document(path=REPOSITORY / "docs" / f"{name}.md")
    for name in ("jobs", "sources", "records", "models")
]
"""The pages whose commands go on where those of the README end, in this order."""
CONFIGURATION = Document(path=REPOSITORY / "docs" / "configuration.md")
RECORDS = Document(path=REPOSITORY / "docs" / "records.md")
DEVELOPMENT = Document(path=REPOSITORY / "docs" / "development.md")
HOW_IT_WORKS = Document(path=REPOSITORY / "docs" / "how-it-works.md")
DOCUMENTS = [
    README,
    Document(path=REPOSITORY / "CHANGELOG.md"),
    *(Document(path=path) for path in sorted(REPOSITORY.glob("docs/**/*.md"))),
]


def stable(text: str) -> list[str]:
    """The lines of a text without what differs from run to run; accuracies are in brackets."""
    text = ACCURACY.sub(r"\1[\2,\3]", text)
    for name, pattern in VOLATILE.items():
        text = re.sub(pattern, name, text)
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line for line in lines if line and not PROGRESS.fullmatch(line)]


def agrees(documented: str, printed: str) -> bool:
    """Whether a program has printed what a document says."""
    said = stable(documented)
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n"
        for line in said
    )
    bracket = re.compile(r"\[(\d,\d+)\]")
    pattern = re.sub(r"\\\[\d,\d+\\\]", r"\\[(\\d,\\d+)\\]", pattern)
    found = re.fullmatch(pattern, "".join(f"{line}\n" for line in stable(printed)))
    if found is None:
        return False
    expected = [number(text) for line in said for text in bracket.findall(line)]
    given = [number(text) for text in found.groups()]
    return all(abs(a - b) <= TOLERANCE for a, b in zip(expected, given, strict=True))


def number(text: str) -> float:
    """`0,9787` as a number."""
    return float(text.replace(",", "."))
