"""Where programs write: messages on stderr, results on stdout, and nothing but JSON if asked."""

import re
import shutil
import sys
from textwrap import wrap
from typing import TYPE_CHECKING

import click

from console.waiting import line

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 200
NO_BREAK = "\0"


def say(message: object, *, result: bool = False) -> None:
    """Tell the user something, on a terminal in lines of whole words; to stdout if a `result`."""
    text, stream = str(message), sys.stdout if result else sys.stderr
    if stream.isatty():
        width = shutil.get_terminal_size().columns
        text = "\n".join(whole for part in text.split("\n") for whole in lines_of(part, width))
        line.clear()
    click.echo(text, stream)


def lines_of(text: str, width: int) -> list[str]:
    """A text in lines; what is longer, and commands in backticks, stay whole to be copied."""
    whole = re.sub(r"`[^`]*`", lambda command: command[0].replace(" ", NO_BREAK), text)
    lines = wrap(
        whole,
        width,
        expand_tabs=False,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(NO_BREAK, " ") for line in lines] or [""]


def print_hanging(console: "Console", head: str, text: str, indent: int = 0) -> None:
    """Print a text after its head: on a terminal in lines below one another, else in one line."""
    left = indent + len(head)
    lines = [text]
    if console.is_terminal and console.width > 2 * left:
        lines = lines_of(text, console.width - left)
    console.print(head + f"\n{' ' * left}".join(lines), markup=False, soft_wrap=True)


def print_json(content: object) -> None:
    """Print the one JSON value of `--json`."""
    import json

    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def stdout() -> "Console":
    """Standard output for tables: as wide as the terminal, and wide where there is none."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
