"""What the command lines have in common: exit codes, errors in one sentence, `--json`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import isnan
from typing import Any

import click

from console.errors import BatchsightError
from console.output import say

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
PLAIN_WORDS = {
    r"in the range (\S+?)<=?x<=?(\S+?)\.$": r"between \1 and \2.",
    r"is not in the range x>=(\S+?)\.$": r"is less than \1.",
    r"is not a valid integer range\.$": "is no whole number.",
    r"is not a valid float range\.$": "is no number.",
}
"""What Click says of numbers, and what people say."""
HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@contextmanager
def one_sentence() -> Iterator[None]:
    """End the program at a foreseeable error: one sentence on stderr, never a traceback."""
    exit_code = FAILED
    try:
        yield
        return
    except BatchsightError as error:
        say(f"error: {error}")
    except click.exceptions.NoArgsIsHelpError:
        raise  # Click shows the help
    except click.UsageError as error:
        say(f"error: {in_words(error)}")
        exit_code = WRONG_USAGE
    except BrokenPipeError:
        raise  # `producer results JOB | head`: Click knows what to do
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        say(f"error: {error.strerror or error}{where}.")
    except KeyboardInterrupt:
        say("Interrupted.")
        exit_code = INTERRUPTED
    raise SystemExit(exit_code)


def in_words(error: click.UsageError) -> str:
    """What is wrong with the words of a command, and where it says how they must be."""
    told = error.format_message()
    told += "" if told.endswith((".", "?", "?)")) else "."
    for jargon, plain in PLAIN_WORDS.items():
        told = re.sub(jargon, plain, told)
    return f"{told} See `{error.ctx.command_path} -h`." if error.ctx else told


class OneSentence(click.Group):
    """A command line whose foreseeable errors are one sentence, and which knows `-h`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.context_settings = {**HELP, **self.context_settings}

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Read the options before the command."""
        with one_sentence():
            return super().make_context(info_name, args, parent, **extra)

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
