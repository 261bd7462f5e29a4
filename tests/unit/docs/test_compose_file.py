"""docker-compose.yml and what must agree with it; needs `docker compose`, but no engine."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from desk.settings import DeskSettings
from messaging.settings import BrokerSettings
from monitor.settings import MonitorSettings
from producer.doctor.settings import DoctorSettings
from producer.settings import ProducerSettings
from storage.settings import StorageSettings
from tests.processes import REPOSITORY
from trainer.settings import TrainerSettings
from worker.settings import WorkerSettings

CLASSES: tuple[type[BaseSettings], ...] = (
    BrokerSettings,
    DeskSettings,
    DoctorSettings,
    MonitorSettings,
    ProducerSettings,
    StorageSettings,
    TrainerSettings,
    WorkerSettings,
)
GIVEN = {
    # Decided by the containers themselves.
    *("BATCHSIGHT_STORAGE", "BATCHSIGHT_REDIS_URL", "BATCHSIGHT_FLOWER_URL"),
    *("BATCHSIGHT_METRICS_ADDRESS", "BATCHSIGHT_METRICS_PORT", "BATCHSIGHT_DOWNLOADS"),
    *("BATCHSIGHT_DESK_ADDRESS", "BATCHSIGHT_DESK_PORT"),
    "BATCHSIGHT_REDIS_PASSWORD",
    *("BATCHSIGHT_REDIS_PASSWORD_FILE", "BATCHSIGHT_REDIS_CA"),  # that of a Redis elsewhere
}
COMPOSE_TEXT = (REPOSITORY / "docker-compose.yml").read_text()
EXAMPLE = dict(
    re.findall(r"^#([A-Z_]+)=(.*)$", (REPOSITORY / ".env.example").read_text(), re.MULTILINE)
)


def has_compose() -> bool:
    if not shutil.which("docker"):
        return False
    command = ["docker", "compose", "version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def compose() -> Mapping[str, Any]:
    """The services as Docker understands them."""
    if not has_compose():
        pytest.skip("`docker compose` is not installed")
    done = subprocess.run(
        ["docker", "compose", "--profile", "*", "config", "--format", "json"],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    services: Mapping[str, Any] = json.loads(done.stdout)["services"]
    return services


def test_every_setting_of_the_code_reaches_its_container_and_the_example() -> None:
    for settings in CLASSES:
        for field in settings.model_fields:
            name = f"BATCHSIGHT_{field.upper()}"
            if name not in GIVEN:
                assert f"{name}:" in COMPOSE_TEXT, name
                assert name in EXAMPLE, name


def test_the_example_shows_the_defaults_of_the_code() -> None:
    for settings in CLASSES:
        for field, about in settings.model_fields.items():
            name = f"BATCHSIGHT_{field.upper()}"
            if name in EXAMPLE and name != "BATCHSIGHT_REDIS_PASSWORD":
                default = "" if about.default is None else about.default
                shown = EXAMPLE[name]
                assert shown == str(default) or float(shown) == default, name


def test_the_example_shows_the_defaults_of_the_compose_file() -> None:
    written = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", COMPOSE_TEXT))
    assert {name: EXAMPLE.get(name) for name in written} == written
    for name in EXAMPLE:
        assert name in written or f"{name}:" in COMPOSE_TEXT, name


def test_the_compose_file_is_valid(compose: Mapping[str, Any]) -> None:
    assert compose.keys() == {
        *("passwords", "redis", "bootstrap", "worker", "trainer", "beat", "flower", "producer"),
        *("desk", "metrics", "prometheus", "grafana", "worker-slim"),
    }


def test_every_container_is_confined(compose: Mapping[str, Any]) -> None:
    for name, service in compose.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["pids_limit"] > 0, name
        assert int(service["mem_limit"]) > 0, name
        assert service["logging"]["options"]["max-size"], name
        for port in service.get("ports", ()):
            assert port["host_ip"] == "127.0.0.1", name


def test_who_may_write_what(compose: Mapping[str, Any]) -> None:
    writers: dict[str, set[str]] = {}
    for name, service in compose.items():
        for mount in service.get("volumes", ()):
            if mount["type"] == "volume" and not mount.get("read_only"):
                writers.setdefault(mount["source"], set()).add(name)
    assert writers["models"] == writers["datasets"] == {"bootstrap", "trainer"}
    assert writers["jobs"] == {"worker", "worker-slim", "producer"}
    assert writers["redis"] == {"redis"}
    secrets = {name: who for name, who in writers.items() if name.startswith("secrets-")}
    assert len(secrets) == 6
    assert all(who == {"passwords"} for who in secrets.values())


def test_docker_waits_longer_than_a_worker_takes_to_stop(compose: Mapping[str, Any]) -> None:
    longest = BrokerSettings.model_fields["shutdown_seconds"].default
    for name in ("worker", "worker-slim", "trainer"):
        minutes, seconds = re.fullmatch(
            r"(?:(\d+)m)?(\d+)s", compose[name]["stop_grace_period"]
        ).groups()  # type: ignore[union-attr]
        assert 60 * int(minutes or 0) + int(seconds) > longest + 15


def test_the_slim_worker_differs_from_the_other_in_its_image_alone(
    compose: Mapping[str, Any],
) -> None:
    own = {"image", "build", "profiles"}
    alike = [
        {name: fact for name, fact in compose[worker].items() if name not in own}
        for worker in ("worker", "worker-slim")
    ]
    assert alike[0] == alike[1]


def test_all_that_goes_into_an_image_is_in_its_build_context() -> None:
    copies = re.findall(
        r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", (REPOSITORY / "Dockerfile").read_text(), re.M
    )
    wanted = {Path(source).parts[0] for sources in copies for source in sources.split()}
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert wanted <= {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert {"desk", "locks", "worker"} <= wanted
