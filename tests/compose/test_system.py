"""The whole system in containers, from `up` on empty volumes to `down`.

The tests build on one another, in this order.
"""

import json
import shlex
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.acceptance.documents import Document
from tests.compose.containers import ARTEFACTS, Containers, wait_until, written
from tests.processes import REPOSITORY

pytestmark = pytest.mark.timeout(1800)

SERVICES = ("redis", "worker", "trainer", "beat", "flower", "desk")
LONG_JOB = ("mnist:train", "--limit", "32000", "--batch-size", "16", "--model", "mnist@1")
"""2,000 batches, long enough to be disturbed."""
BATCHES = 2000
SIGNAL_MAIN_PROCESS = """
import os, sys
processes = [int(name) for name in os.listdir("/proc") if name.isdigit()]
parents = {p: open(f"/proc/{p}/stat").read().rpartition(")")[2].split()[1] for p in processes}
(main,) = [p for p, parent in parents.items() if parent == "1"]
os.kill(main, int(sys.argv[1]))
"""


def models(containers: Containers) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(containers.trainer("models", "--json"))
    return listed


def done(containers: Containers, job: str) -> int:
    """How many batches have results, seen from a worker that runs."""
    command = f"ls /storage/jobs/{job}/results 2>/dev/null | grep -c npz$"
    printed = containers.compose("exec", "-T", "worker", "sh", "-c", command, check=False)
    return int(printed or 0)


def test_up_on_empty_volumes_comes_to_health(containers: Containers) -> None:
    containers.up()
    for service in SERVICES:
        assert containers.health(service) == ["healthy"]


def test_the_first_job_works_and_its_accuracy_is_that_of_the_model(containers: Containers) -> None:
    summary = containers.submit("mnist:test", "--job-id", "first")  # waits for the bootstrap
    assert summary["status"] == "completed"
    assert summary["images"]["total"] == summary["images"]["predicted"] == 10_000
    (model,) = models(containers)
    assert (model["name"], model["version"], model["champion"]) == ("mnist", 1, True)
    assert summary["accuracy"] == pytest.approx(model["accuracy"], abs=1e-4)
    assert summary["accuracy"] > 0.97


def test_the_doctor_finds_nothing(containers: Containers) -> None:
    findings = json.loads(containers.producer("doctor", "--json"))
    assert [f for f in findings if f["status"] not in ("ok", "skipped")] == []


def test_containers_have_no_more_rights_than_they_need(containers: Containers) -> None:
    for service in SERVICES:
        (container,) = containers.ids(service)
        (facts,) = json.loads(containers.docker("inspect", container))
        host = facts["HostConfig"]
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert host["Memory"] > 0, service
        assert host["PidsLimit"] > 0, service
        assert facts["Config"]["User"] not in ("", "root", "0"), service
    refused = "touch /storage/models/x || touch /storage/datasets/x || touch /app/x"
    containers.compose("exec", "-T", "worker", "sh", "-c", f"if {refused}; then exit 1; fi")
    ports = containers.docker("port", containers.ids("flower")[0])
    assert ports.strip() == f"5555/tcp -> 127.0.0.1:{containers.flower_port}"


def test_a_role_sees_its_own_password_alone_and_none_in_its_environment(
    containers: Containers,
) -> None:
    passwords = set()
    for service, secrets in (("worker", "redis"), ("trainer", "redis"), ("flower", "flower redis")):
        listed = containers.compose("exec", "-T", service, "ls", "/run/secrets")
        assert " ".join(listed.split()) == secrets
        password = containers.compose("exec", "-T", service, "cat", "/run/secrets/redis")
        assert len(password) == 48
        passwords.add(password)
        (facts,) = json.loads(containers.docker("inspect", *containers.ids(service)))
        assert password not in json.dumps(facts)
    assert len(passwords) == 3
    stranger = containers.compose("exec", "-T", "redis", "redis-cli", "llen", "predict")
    assert "NOAUTH" in stranger


def test_a_role_has_no_right_that_it_does_not_need(containers: Containers) -> None:
    def may(user: str, *command: str) -> bool:
        return containers.redis("acl", "dryrun", user, *command).strip() == "OK"

    assert may("producer", "lpush", "predict", "a message")
    assert may("producer", "lpush", "predict.tensorflow", "a message")
    assert may("worker", "brpop", "predict", "1")
    assert may("worker", "brpop", "predict.tensorflow", "predict", "1")
    assert may("worker", "set", "batchsight:speed:a", "1", "ex", "60")
    assert may("producer", "get", "batchsight:speed:a")
    assert may("trainer", "brpop", "train", "1")
    assert may("monitor", "llen", "predict")
    assert may("monitor", "llen", "predict.tensorflow")
    assert not may("producer", "lpush", "train", "a message")
    assert not may("producer", "set", "batchsight:speed:a", "1", "ex", "60")
    assert not may("producer", "flushall")
    assert not may("worker", "brpop", "train", "1")
    assert not may("trainer", "brpop", "predict", "1")
    assert not may("monitor", "lpush", "predict", "a message")
    assert not may("monitor", "config", "get", "*")


def test_only_who_fetches_or_shows_something_is_on_a_network_that_leads_out(
    containers: Containers,
) -> None:
    outside = set()
    for service in SERVICES:
        (facts,) = json.loads(containers.docker("inspect", *containers.ids(service)))
        for network in facts["NetworkSettings"]["Networks"]:
            (about,) = json.loads(containers.docker("network", "inspect", network))
            if not about["Internal"]:
                outside.add(service)
    assert outside == {"trainer", "flower", "desk"}


def test_the_slim_worker_is_small_and_takes_the_place_of_the_other(containers: Containers) -> None:
    form = ("image", "inspect", "--format", "{{.Size}}")
    names = ("batchsight-test-worker-slim", "batchsight-test-worker")
    slim, ordinary = (int(containers.docker(*form, name)) for name in names)
    assert slim <= 0.45 * ordinary
    containers.up("worker-slim")
    containers.compose("stop", "worker")
    summary = containers.submit("mnist:test", "--job-id", "slim", "--model", "mnist@1")
    assert summary["status"] == "completed"
    assert containers.digest("slim") == containers.digest("first")
    containers.compose("rm", "--stop", "--force", "worker-slim")
    containers.up("worker")


def test_a_hung_main_process_is_unhealthy_until_it_goes_on(containers: Containers) -> None:
    (worker,) = containers.ids("worker")

    def signal_main_process(number: int) -> None:
        containers.docker("exec", worker, "python", "-c", SIGNAL_MAIN_PROCESS, str(number))

    signal_main_process(signal.SIGSTOP)
    wait_until(lambda: containers.health("worker") == ["unhealthy"], "it is noticed", 120)
    signal_main_process(signal.SIGCONT)
    wait_until(lambda: containers.health("worker") == ["healthy"], "it is well again", 60)


def test_the_job_that_is_disturbed_gives_the_exact_result(containers: Containers) -> None:
    with ThreadPoolExecutor() as pool:
        job = pool.submit(containers.submit, *LONG_JOB, "--job-id", "undisturbed")
        busy = set()
        while not job.done():
            busy |= set(containers.health("worker"))
            time.sleep(1)
        assert job.result()["status"] == "completed"
        assert busy == {"healthy"}
    containers.up("--scale", "worker=2", "worker")
    assert containers.health("worker") == ["healthy"] * 2
    with ThreadPoolExecutor() as pool:
        job = pool.submit(containers.submit, *LONG_JOB, "--job-id", "disturbed")
        wait_until(lambda: done(containers, "disturbed") > BATCHES / 10, "the job has begun")
        containers.docker("kill", "--signal", "KILL", containers.ids("worker")[1])
        killed_at = done(containers, "disturbed")
        containers.compose("stop", "redis")
        time.sleep(10)
        containers.compose("start", "redis")
        assert killed_at < BATCHES, "the job was over before anything happened"
        summary = job.result(timeout=900)
    assert summary["status"] == "completed"
    assert summary["images"]["predicted"] == 32_000
    logs = containers.compose("logs", "redis", "worker")
    assert "AOF-loading-client" not in logs  # Redis has read all of its file as it was
    assert "malformed" not in logs
    assert containers.digest("disturbed") == containers.digest("undisturbed")
    containers.up("--scale", "worker=2")
    assert len(containers.ids("worker")) == 2


def champion(containers: Containers) -> int:
    version: int = max(model["version"] for model in models(containers) if model["champion"])
    return version


def test_a_training_every_minute_serves_the_next_job(containers: Containers) -> None:
    containers.settings["BATCHSIGHT_RETRAIN_SCHEDULE"] = "* * * * *"
    containers.up("trainer", "beat")
    line = json.loads(containers.trainer("schedule", "--json"))
    assert line["schedule"] == "* * * * *"
    # A version is published before the gate has judged it.
    wait_until(lambda: champion(containers) > 1, "a champion by schedule", 400)
    del containers.settings["BATCHSIGHT_RETRAIN_SCHEDULE"]
    containers.up("beat")
    newest = champion(containers)
    summary = containers.submit("mnist:test", "--job-id", "retrained")
    assert summary["model"] == f"mnist@{newest}"


def test_flower_is_readable_at_a_glance_and_asks_for_a_password(containers: Containers) -> None:
    containers.trainer("train", "--dataset", "mnist", "--epochs", "1", "--queue")
    containers.submit("mnist:test", "--job-id", "nightly")
    text = containers.browse("/tasks", "flower.png")
    assert written(ARTEFACTS / "flower.png")
    for shown in (
        "worker.predict",
        "trainer.train",
        "job nightly, batch 10 of 10",
        "1,000 images, ",
        " correct, ",
        "mlp on mnist, 1 epoch",
        ", rejected, ",
    ):
        assert shown in text, shown
    assert "worker.sweep" not in text
    url = f"http://127.0.0.1:{containers.flower_port}/tasks"
    code = "import sys, urllib.request as r; r.urlopen(sys.argv[1])"
    stranger = subprocess.run(["python3", "-c", code, url], capture_output=True, check=False)
    assert b"401" in stranger.stderr


def test_prometheus_finds_figures(containers: Containers) -> None:
    containers.up("metrics")
    containers.submit("mnist:test", "--job-id", "counted", "--model", "mnist@1")
    read = "import urllib.request as r; print(r.urlopen('http://metrics:9108/metrics').read())"
    text = containers.compose("exec", "-T", "flower", "python", "-c", read)
    for figure in (
        "batchsight_redis_up 1.0",
        'batchsight_queue_messages{queue="predict"} 0.0',
        'batchsight_images_total{model="mnist@1"} 10000.0',
        "batchsight_batch_seconds_count 10.0",
        'batchsight_jobs{status="completed"}',
        'batchsight_champion_version{model="mnist"}',
        "batchsight_workers 2.0",
    ):
        assert figure in text, figure


def test_nothing_was_ever_refused_to_a_role(containers: Containers) -> None:
    """After all that happened above, the loss of Redis included."""
    refused = containers.redis("acl", "log")
    assert "toplevel" not in refused, refused


def test_down_and_up_again_keeps_jobs_models_and_schedule(containers: Containers) -> None:
    before = models(containers)
    jobs = {job["id"] for job in json.loads(containers.producer("jobs", "--json"))}
    digest = containers.digest("first")
    sent = json.loads(containers.trainer("schedule", "--json"))
    containers.compose("--profile", "monitoring", "down", "--timeout", "60")
    containers.settings["BATCHSIGHT_RETRAIN_SCHEDULE"] = "0 0 29 2 *"
    containers.up()
    assert models(containers) == before
    assert {job["id"] for job in json.loads(containers.producer("jobs", "--json"))} == jobs
    assert jobs >= {"first", "disturbed", "nightly"}
    assert containers.digest("first") == digest
    after = json.loads(containers.trainer("schedule", "--json"))
    assert after["newest"] == sent["newest"]
    assert not after["missed"]
    summary = containers.submit("mnist:test", "--job-id", "after")
    assert summary["status"] == "completed"


def test_the_docker_commands_of_the_operators_tutorial_work(containers: Containers) -> None:
    tutorial = Document(path=REPOSITORY / "docs" / "tutorials" / "operator.md")
    lines = [line for block in tutorial.blocks("sh") for line in block.lines]
    assert len(lines) > 5
    for line in lines:
        docker, compose, *arguments = shlex.split(line)
        assert (docker, compose) == ("docker", "compose")
        containers.compose(*arguments)
