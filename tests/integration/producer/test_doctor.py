"""The doctor at real systems, each misconfigured in its own way."""

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from local.redis_server import choose_port, is_listening
from messaging.app import make_app
from messaging.broker import connect
from messaging.messages import PredictBatch
from messaging.settings import BrokerSettings
from messaging.worker_heartbeats import PREFIX, living_workers
from producer.doctor.diagnosis import diagnose
from producer.doctor.facts import Facts, gather_facts
from producer.doctor.finding import Outcome
from producer.doctor.probes.flower import Door, look_at_flower
from producer.doctor.settings import DoctorSettings
from storage.identity import storage_id
from storage.settings import StorageSettings
from tests.processes import Program, RedisServer, run, wait_for

SHIPPED = ("--appendonly", "yes", "--maxmemory", "256mb", "--maxmemory-policy", "noeviction")
"""As `python -m local up` starts it."""
LINE_FAULTS = {"queues"}
"""What is wrong when no worker runs."""


@pytest.fixture
def shipped_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis", *SHIPPED)
    yield server
    server.stop()


@pytest.fixture
def environment(tmp_path: Path, shipped_redis: RedisServer) -> Mapping[str, str]:
    return {
        "BATCHSIGHT_REDIS_URL": shipped_redis.url,
        "BATCHSIGHT_STORAGE": str(tmp_path / "storage"),
        "BATCHSIGHT_FLOWER_URL": f"http://127.0.0.1:{choose_port()}",
    }


class Celery:
    """Starts Celery programs, and kills those that still run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs: list[Program] = []

    def __call__(self, environment: Mapping[str, str], name: str, *arguments: str) -> Program:
        command = [sys.executable, "-m", "celery", *arguments]
        program = Program(command, self._folder / f"{name}.log", environment)
        self._programs.append(program)
        return program

    def light_worker(self, environment: Mapping[str, str], name: str, *options: str) -> Program:
        """A worker with a pool of threads: it never imports TensorFlow, and starts in a second."""
        options = ("-n", f"{name}@%h", "-l", "INFO", "-P", "threads", *options)
        program = self(environment, name, "-A", "worker", "worker", *options)
        program.wait_for_log("ready.")
        return program

    def stop_first(self) -> None:
        self._programs[0].kill()

    def stop(self) -> None:
        for program in self._programs:
            program.kill()


@pytest.fixture
def celery(tmp_path: Path) -> Iterator[Celery]:
    programs = Celery(tmp_path)
    yield programs
    programs.stop()


def look(environment: Mapping[str, str]) -> Facts:
    return gather_facts(
        BrokerSettings(redis_url=environment["BATCHSIGHT_REDIS_URL"]),
        StorageSettings(storage=Path(environment["BATCHSIGHT_STORAGE"])),
        DoctorSettings(flower_url=environment["BATCHSIGHT_FLOWER_URL"]),
    )


def faults(facts: Facts) -> set[str]:
    return {f.check for f in diagnose(facts) if f.status is Outcome.FAULT}


def test_a_system_as_shipped_has_no_fault_and_one_with_other_settings_has(
    tmp_path: Path,
    environment: Mapping[str, str],
    shipped_redis: RedisServer,
    celery: Celery,
) -> None:
    cores = str(len(os.sched_getaffinity(0)))
    one = celery.light_worker(environment, "worker", "-c", cores)
    trainer = celery.light_worker(environment, "trainer", "-c", "1", "-Q", "train")
    client = shipped_redis.client()
    wait_for(lambda: len(living_workers(client)) == 2, "both workers send heartbeats")
    facts = look(environment)
    # The trainer is only played here: one that predicts as well has more threads than cores.
    assert facts.workers is not None
    played = tuple(
        replace(w, presence=None) if w.name.startswith("trainer") else w for w in facts.workers
    )
    assert faults(replace(facts, workers=played)) == set()
    assert {f.check for f in diagnose(facts) if f.status is Outcome.SKIPPED} == {"flower"}

    other = {
        **environment,
        "BATCHSIGHT_STORAGE": str(tmp_path / "elsewhere"),
        "BATCHSIGHT_SOFT_TIME_LIMIT_SECONDS": "100",
        "BATCHSIGHT_TIME_LIMIT_SECONDS": "120",
    }
    two = celery.light_worker(other, "second", "-c", "8")
    wait_for(lambda: len(living_workers(client)) == 3, "the third one as well")
    assert faults(look(environment)) == {"visibility", "threads", "shared"}
    for program in (one, trainer, two):
        program.kill()
    gone = look(environment)  # their heartbeats still lie in Redis
    assert gone.workers == ()
    assert faults(gone) == {"queues"}


def test_two_workers_of_one_name_are_found_and_a_successor_is_none(
    environment: Mapping[str, str], shipped_redis: RedisServer, celery: Celery
) -> None:
    client = shipped_redis.client()
    for _ in range(2):
        celery.light_worker(environment, "worker", "-c", "1")
    wait_for(lambda: len(client.keys(f"{PREFIX}*")) == 2, "both send heartbeats")
    assert len(living_workers(client)) == 1
    assert "names" in faults(look(environment))
    celery.stop_first()
    assert len(client.keys(f"{PREFIX}*")) == 2
    assert "names" not in faults(look(environment))


def test_messages_that_wait_for_a_pool_that_hangs_are_found(
    environment: Mapping[str, str], celery: Celery
) -> None:
    storage_id(Path(environment["BATCHSIGHT_STORAGE"]))
    arguments = ("-A", "worker", "worker", "-l", "INFO", "-c", "1")
    program = celery(environment, "hanging", *arguments)
    program.wait_for_log("Ready with")
    for child in program.children():
        os.kill(child, signal.SIGSTOP)
    app = make_app("test", settings=BrokerSettings(redis_url=environment["BATCHSIGHT_REDIS_URL"]))
    for batch in range(5):
        PredictBatch(job="none", batch=batch).send(app)
    client = connect(BrokerSettings(redis_url=environment["BATCHSIGHT_REDIS_URL"]))
    ahead = app.conf.worker_prefetch_multiplier
    wait_for(lambda: client.hlen("unacked.worker") == ahead, "the worker has fetched what it may")
    facts = look(environment)
    assert facts.workers is not None
    assert faults(facts) == LINE_FAULTS  # the trainer is missing, and the worker is young
    aged = tuple(replace(worker, uptime_seconds=600.0) for worker in facts.workers)
    assert faults(replace(facts, workers=aged)) == LINE_FAULTS | {"idle"}


def test_two_beats_are_found_and_a_restarted_one_is_not_counted_twice(
    tmp_path: Path, environment: Mapping[str, str], celery: Celery
) -> None:
    (tmp_path / "played_beat.py").write_text(
        "from celery.signals import beat_init\n"
        "from messaging.app import make_app\n"
        "from messaging.beat_heartbeats import begin\n"
        "app = make_app('beat')\nbeat_init.connect(begin)\n"
    )
    environment = {**environment, "PYTHONPATH": str(tmp_path)}
    beats = []
    for number in range(2):
        schedule = ("-s", str(tmp_path / f"schedule{number}"), "--pidfile=")
        name = f"beat{number}"
        beats.append(
            celery(environment, name, "-A", "played_beat", "beat", "-l", "INFO", *schedule)
        )
        beats[-1].wait_for_log("beat: Starting")
    assert faults(look(environment)) == LINE_FAULTS | {"beat"}
    beats[0].kill()
    facts = look(environment)
    assert faults(facts) == LINE_FAULTS
    assert facts.beats is not None
    assert f":{beats[1].pid}:" in facts.beats[0]


def test_a_redis_that_would_lose_messages_is_found(
    environment: Mapping[str, str], shipped_redis: RedisServer
) -> None:
    client = shipped_redis.client()
    assert faults(look(environment)) == LINE_FAULTS
    client.config_set("appendonly", "no")
    assert faults(look(environment)) == LINE_FAULTS | {"persistence"}
    client.config_set("save", "3600 1")
    assert faults(look(environment)) == LINE_FAULTS
    client.config_set("maxmemory-policy", "volatile-ttl")
    assert faults(look(environment)) == LINE_FAULTS | {"eviction"}
    client.config_set("maxmemory-policy", "noeviction")
    for number in range(200):  # a single large value would count twice, in a buffer as well
        client.set(f"filler{number}", "x" * 100_000)
    client.config_set("maxmemory", "32mb")
    assert faults(look(environment)) == LINE_FAULTS | {"memory"}


def test_a_redis_that_hides_its_configuration_is_no_fault(
    environment: Mapping[str, str], shipped_redis: RedisServer
) -> None:
    shipped_redis.client().execute_command(
        *("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-config", "-info")
    )
    url = shipped_redis.url.replace("redis://", "redis://app:pw@")
    facts = look({**environment, "BATCHSIGHT_REDIS_URL": url})
    assert faults(facts) == LINE_FAULTS
    skipped = {f.check for f in diagnose(facts) if f.status is Outcome.SKIPPED}
    assert skipped >= {"persistence", "eviction", "memory"}


def test_a_wrong_password_and_an_absent_redis_are_told_apart(
    tmp_path: Path, environment: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    server = RedisServer(tmp_path / "locked", *SHIPPED, "--requirepass", "right")
    request.addfinalizer(server.kill)
    for secret in ("", ":guess@"):
        url = server.url.replace("redis://", f"redis://{secret}")
        facts = look({**environment, "BATCHSIGHT_REDIS_URL": url})
        assert faults(facts) == {"password"}
        assert not any("guess" in finding.message for finding in diagnose(facts))
    right = server.url.replace("redis://", "redis://:right@")
    assert faults(look({**environment, "BATCHSIGHT_REDIS_URL": right})) == LINE_FAULTS
    server.stop()
    assert faults(look({**environment, "BATCHSIGHT_REDIS_URL": right})) == {"redis"}


def test_storage_that_cannot_be_written_is_found(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    (tmp_path / "file").touch()
    facts = look({**environment, "BATCHSIGHT_STORAGE": str(tmp_path / "file" / "root")})
    assert faults(facts) == LINE_FAULTS | {"writable"}


@pytest.mark.parametrize(
    ("options", "door", "is_fault"),
    [
        (("--address=127.0.0.1",), Door.OPEN, False),
        (("--address=0.0.0.0",), Door.OPEN, True),
        (("--address=0.0.0.0", "--basic_auth=user:secret"), Door.LOCKED, False),
    ],
)
def test_a_flower_that_strangers_can_read_is_found(
    environment: Mapping[str, str],
    celery: Celery,
    options: tuple[str, ...],
    door: Door,
    is_fault: bool,
) -> None:
    port = choose_port()
    broker = environment["BATCHSIGHT_REDIS_URL"]
    arguments = ("-b", broker, "flower", f"--port={port}", *options)
    celery(environment, "flower", *arguments)
    wait_for(lambda: is_listening(port), "Flower listens")
    facts = look_at_flower(f"http://127.0.0.1:{port}")
    assert facts.door is door
    assert bool(facts.open_at) is is_fault


def test_the_command_prints_json_and_exits_by_what_it_found(
    environment: Mapping[str, str],
) -> None:
    done = run(environment, "producer", "doctor", "--json", check=False)
    assert done.returncode == 1, done.stderr
    findings = json.loads(done.stdout)
    assert findings[0]["check"] == "queues"
    assert all(set(f) == {"check", "status", "message", "remedy"} for f in findings)
    shown = run(environment, "producer", "doctor", check=False).stdout
    assert "No worker listens on predict, sweep and train." in shown
