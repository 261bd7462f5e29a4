"""`python -m local demo`: the main job on real MNIST, from an empty folder to a report."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from rich.console import Console

from local.errors import ProgramFailed
from local.programs import Programs, trainer_program, worker_program
from local.redis_server import choose_port
from local.up import start_redis
from storage.models.runtime_choice import TITLES
from storage.models.store import ModelStore, ModelVersion
from storage.settings import storage_settings

DATASET = "mnist"
READY_SECONDS = 180


def run_demo(network: str) -> None:
    """Train (unless done before), classify the test images, report."""
    console = Console(stderr=True, highlight=False)
    began = time.monotonic()
    root = storage_settings().root
    logs = root / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    port = choose_port()
    environment = {
        "BATCHSIGHT_STORAGE": str(root),
        "BATCHSIGHT_REDIS_URL": f"redis://127.0.0.1:{port}/0",
    }
    log = DemoLog(logs)
    with Programs(environment, log) as programs:
        console.print("[bold]1[/] Starting Redis, a trainer and a prediction worker")
        start_redis(programs, port, root)
        programs.start(worker_program())
        programs.start(trainer_program())

        model = find_model(ModelStore(root), network)
        if model is None:
            console.print(f"[bold]2[/] Training {network} on {DATASET}, as a queued task")
            command = [
                "trainer.cli",
                "train",
                "--dataset",
                DATASET,
                "--network",
                network,
                "--queue",
            ]
            run(environment, *command, logs=logs)
            model = find_model(ModelStore(root), network)
            if model is None:
                raise ProgramFailed(f"The training has published no version, see {logs}.")
        else:
            console.print(f"[bold]2[/] Using {model}, trained before")

        if not log.worker_is_ready.wait(READY_SECONDS):
            raise ProgramFailed(f"The worker was not ready within {READY_SECONDS} s, see {logs}.")
        console.print(
            f"[bold]3[/] Classifying the test images of {DATASET} with {model}; "
            f"the gate chose {TITLES[model.runtime]}"
        )
        job = f"demo-{datetime.now():%Y%m%d-%H%M%S}"
        submit = ["producer.cli", "submit", f"{DATASET}:test", "--model", str(model)]
        run(environment, *submit, "--job-id", job, "--json", logs=logs, show_output=False)
        run(environment, "producer.cli", "report", job, logs=logs)
        console.print("[bold]4[/] Stopping everything")
    console.print(f"Done in {time.monotonic() - began:.0f} s. Logs: {logs}", soft_wrap=True)


def find_model(store: ModelStore, network: str) -> ModelVersion | None:
    """The latest version of the demo's model with this network, if there is one."""
    versions = [v for v in store.versions(DATASET) if v.manifest.network == network]
    return versions[-1] if versions else None


def run(
    environment: Mapping[str, str],
    module: str,
    *arguments: str,
    logs: Path,
    show_output: bool = True,
) -> None:
    """Run a command line of the system on this terminal; raises `ProgramFailed`.

    Without `show_output` only its progress and messages are seen.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, **environment},
        stdout=None if show_output else subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise ProgramFailed(
            f"`{module.partition('.')[0]} {' '.join(arguments)}` ended with exit code "
            f"{done.returncode}: the logs in {logs} say more."
        )


class DemoLog:
    """Writes each program's output to a file of its name, and notices when the worker is ready."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.worker_is_ready = threading.Event()

    def __call__(self, name: str, line: str) -> None:
        with (self._folder / f"{name}.log").open("a") as file:
            file.write(line + "\n")
        if name == "worker" and "Ready with" in line:
            self.worker_is_ready.set()
