"""What all programs do alike when something foreseeable goes wrong."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from local.__main__ import cli as local
from producer.cli import cli as producer
from tests.processes import REPOSITORY
from trainer.cli import main as trainer


def program(folder: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "command", ["producer.cli jobs", "trainer.cli models", "local demo", "monitor"]
)
def test_a_setting_that_cannot_be_used_is_the_same_sentence_from_every_program(
    tmp_path: Path, command: str
) -> None:
    with program(tmp_path, "-m", *command.split(), BATCHSIGHT_LEASE_SECONDS="never") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err == (
        "error: BATCHSIGHT_LEASE_SECONDS=never cannot be used: it must be a number, at least 1.\n"
    )


INTERRUPTED = """
import sys
from local.__main__ import cli

@cli.command()
def hang():
    print("begun", flush=True)
    sys.stdin.read()

cli(["hang"])
"""


def test_ctrl_c_ends_a_program_with_130(tmp_path: Path) -> None:
    with program(tmp_path, "-c", INTERRUPTED) as process:
        assert process.stdout and process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "Interrupted.\n")


def test_a_port_that_is_taken_is_a_sentence_of_the_monitor(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with program(tmp_path, "-m", "monitor", BATCHSIGHT_METRICS_PORT=port) as process:
            out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err == f"error: 127.0.0.1:{port} cannot be served on (Address already in use).\n"


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    """The words of each command, groups included."""
    yield path
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name)


PROGRAMS = {"producer": producer, "trainer": trainer, "python -m local": local}


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_has_a_help_of_80_columns_by_h_and_by_its_long_name(program: str) -> None:
    cli = PROGRAMS[program]
    for words in commands(cli):
        short, long = (
            CliRunner(env={"COLUMNS": "80"}).invoke(cli, [*words, option], prog_name=program)
            for option in ("-h", "--help")
        )
        assert (short.exit_code, short.output) == (0, long.output), words
        lines = short.output.splitlines()
        assert lines[0].startswith(f"Usage: {' '.join([program, *words])} ")
        assert "  -h, --help" in short.output
        assert max(map(len, lines)) <= 80, words
        assert not [line for line in lines[1:] if line.endswith("...")], words


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("submit", "Missing argument 'SOURCE...'. See `producer submit -h`."),
        (
            "submit x --top 200",
            "Invalid value for '--top': 200 is not between 1 and 100. See `producer submit -h`.",
        ),
        (
            "submit x --limit 0",
            "Invalid value for '--limit': 0 is less than 1. See `producer submit -h`.",
        ),
        (
            "submit x --batch-size many",
            "Invalid value for '--batch-size': 'many' is no whole number. "
            "See `producer submit -h`.",
        ),
        (
            "submit x --max-failure-rate all",
            "Invalid value for '--max-failure-rate': 'all' is no number. See `producer submit -h`.",
        ),
        ("sumbit x", "No such command 'sumbit'. Did you mean 'submit'? See `producer -h`."),
        (
            "submit x --jso",
            "No such option '--jso'. (Did you mean one of: '--job-id', '--json', '--top'?) "
            "See `producer submit -h`.",
        ),
        ("--loud", "No such option '--loud'. See `producer -h`."),
    ],
)
def test_wrong_usage_is_one_sentence_like_all_errors(words: str, sentence: str) -> None:
    done = CliRunner().invoke(producer, words.split(), prog_name="producer")
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"error: {sentence}\n")


def test_a_command_without_any_words_shows_its_help() -> None:
    done = CliRunner().invoke(trainer, ["data"], prog_name="trainer")
    assert done.exit_code == 2
    assert done.output.startswith("Usage: trainer data [OPTIONS] COMMAND")


@pytest.mark.parametrize("module", ["benchmarks", "monitor", "tests.faults.storm"])
def test_the_other_programs_have_a_help_of_80_columns(module: str) -> None:
    with program(REPOSITORY, "-m", module, "-h", COLUMNS="80") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out.lower().startswith(f"usage: python -m {module} [")
    assert max(map(len, out.splitlines())) <= 80
