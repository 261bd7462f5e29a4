"""What the command lines have in common: exit codes, errors in one sentence, `--json`."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import isnan
from typing import Any

import click

from console.errors import BatchsightError
from console.output import say

FAILED, INTERRUPTED = 1, 130


@contextmanager
def one_sentence() -> Iterator[None]:
    """End the program at a foreseeable error: one sentence on stderr, never a traceback."""
    exit_code = FAILED
    try:
        yield
        return
    except BatchsightError as error:
        say(f"error: {error}")
    except BrokenPipeError:
        raise  # `producer results JOB | head`: Click knows what to do
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        say(f"error: {error.strerror or error}{where}.")
    except KeyboardInterrupt:
        say("Interrupted.")
        exit_code = INTERRUPTED
    raise SystemExit(exit_code)


class OneSentence(click.Group):
    """A command line whose foreseeable errors are one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with one_sentence():
            return super().invoke(ctx)


class Share(click.FloatRange):
    """A share of a whole, 0 to 1; "nan", which is in any range, is none."""

    def __init__(self, *, open_: bool = False) -> None:
        super().__init__(0.0, 1.0, min_open=open_, max_open=open_)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number, or a usage error."""
        share = float(super().convert(value, param, ctx))
        if isnan(share):
            self.fail(f"{value} is no number.", param, ctx)
        return share


as_json = click.option("--json", "json_", is_flag=True, help="Print JSON on stdout.")
"""Adds `--json` to a command."""
