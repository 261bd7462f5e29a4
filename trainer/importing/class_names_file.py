"""The file that names the classes of a model, one a line, in the order of its outputs."""

import codecs
import re
import unicodedata
from pathlib import Path

from storage.class_names import canonical
from trainer.errors import ImportFailed

BYTES_LIMIT = 1_000_000
LINE_END = re.compile(r"\r\n|\n|\r")
INVISIBLE = ("Cf", "Zl", "Zp")
"""Categories of characters that nobody sees, and that make two names of what looks like one."""
JOINERS = str.maketrans("", "", "\u200c\u200d")
"""Invisible as well, and needed in words of some scripts, none of which is ASCII."""


def read_labels(path: Path) -> tuple[str, ...]:
    """The names, as `storage.class_names` writes them; empty lines at the end do not count."""
    if not path.is_file():
        raise ImportFailed(f"There is no file {path} with the names of the classes.")
    if path.stat().st_size > BYTES_LIMIT:
        raise ImportFailed(f"{path} is too large for names of classes, one a line.")
    text = decode(path)
    if text.startswith(("[", "{")):
        raise ImportFailed(f"{path} looks like JSON: write the names alone, one a line.")
    labels = [canonical(line) for line in LINE_END.split(text.rstrip())]
    if len(labels) < 2:
        raise ImportFailed(f"{path} must name two classes or more, one a line.")
    first: dict[str, int] = {}
    for number, label in enumerate(labels, start=1):
        if not label:
            raise ImportFailed(f"{path}: line {number} is empty, where a class must be named.")
        if holds_control(label):
            raise ImportFailed(
                f"{path}: line {number} holds more than a name, or no text: {label[:80]!r}."
            )
        if hidden := invisible_in(label):
            raise ImportFailed(
                f"{path}: line {number} holds a character that nobody sees, "
                f"U+{ord(hidden):04X}: {label[:80]!a}. Remove it."
            )
        seen = label.translate(JOINERS)
        if first.setdefault(seen, number) != number:
            raise ImportFailed(
                f"{path}: lines {first[seen]} and {number} both name {label!r}; "
                "each class has a name of its own."
            )
    return tuple(labels)


def holds_control(name: str) -> bool:
    """Whether a name holds a tabulator, an end of a line or the like."""
    return any(unicodedata.category(character) == "Cc" for character in name)


def invisible_in(name: str) -> str:
    """The first character of a name that nobody sees, "" without one."""
    seen = name.translate(JOINERS)
    shown = name if seen.isascii() else seen
    return next((c for c in shown if unicodedata.category(c) in INVISIBLE), "")


def decode(path: Path) -> str:
    """The text of a file in UTF-8 or, with its mark, UTF-16."""
    content = path.read_bytes()
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError:
        raise ImportFailed(f"{path} is not UTF-8 text: save it as such.") from None
