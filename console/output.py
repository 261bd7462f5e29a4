"""Where programs write: messages on stderr, results on stdout, and nothing but JSON if asked."""

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 200


def say(message: object) -> None:
    """Tell the user something that is no result."""
    click.echo(str(message), err=True)


def print_json(content: object) -> None:
    """Print the one JSON value of `--json`."""
    import json

    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def stdout() -> "Console":
    """Standard output for tables: as wide as the terminal, and wide where there is none."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
