"""Programs on a real terminal."""

import os
import pty
import subprocess
import sys

import click

from tests.processes import REPOSITORY


def lines_on_terminal(
    program: str, *arguments: str, columns: int, descriptor: int = 1
) -> list[str]:
    """What a Python program prints to a terminal so wide, without colours."""
    ours, theirs = pty.openpty()
    streams = {1: subprocess.DEVNULL, 2: subprocess.DEVNULL, descriptor: theirs}
    subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm"},
        check=True,
        stdout=streams[1],
        stderr=streams[2],
    )
    os.close(theirs)
    content = os.read(ours, 100_000).decode()
    os.close(ours)
    return click.unstyle(content).splitlines()
