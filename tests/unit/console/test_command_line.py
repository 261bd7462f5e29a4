"""What all programs do alike when something foreseeable goes wrong."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import REPOSITORY


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
        "error: The environment cannot be used: BATCHSIGHT_LEASE_SECONDS: "
        "Input should be a valid number, unable to parse string as a number.\n"
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
