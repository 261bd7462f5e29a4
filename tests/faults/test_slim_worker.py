"""A worker without TensorFlow does what it can and leaves the rest to others.

It is installed as its lock says: what that does not name is not there.
"""

import json
import re
import shutil
import sys
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from messaging.app import make_app
from messaging.settings import PREDICT_QUEUE, TENSORFLOW_QUEUE, BrokerSettings
from storage.identity import storage_id
from storage.models.store import MODEL_FILE, ModelStore
from tests.faults.conftest import BATCHES, IMAGES, House
from tests.faults.test_sick_workers import assert_exact, predictions_in, presence
from tests.processes import REPOSITORY, Program, run, wait_for, worker

LOCKED = re.compile(r"^([a-z0-9-]+)==(\S+)( ;)?", re.MULTILINE)


@pytest.fixture(scope="session")
def slim_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that finds what the lock names, linked to where it is installed here."""
    folder = tmp_path_factory.mktemp("slim")
    venv.create(folder)
    lib = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    for name, version, conditional in LOCKED.findall(
        (REPOSITORY / "locks" / "worker-slim.txt").read_text()
    ):
        try:
            found = distribution(name)
        except PackageNotFoundError:
            assert conditional, name
            continue
        assert found.version == version or conditional, name
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            link = lib / "site-packages" / top
            if not link.exists():
                link.symlink_to(Path(str(found.locate_file(top))))
    return folder / "bin" / "python"


def promote_without_onnx(models: ModelStore) -> None:
    """Make a model `keras` of `digits` as it was before there was ONNX."""
    version = models.resolve("digits")
    manifest = version.manifest.model_copy(update={"onnx_sha256": None, "runtime": None})
    with models.draft("keras") as draft:
        shutil.copy(version.folder / MODEL_FILE, draft)
        models.promote(models.publish("keras", draft, manifest))


@pytest.fixture
def slim(house: House, slim_python: Path) -> Program:
    """Such a worker, ready, though it could not load one of the champions."""
    promote_without_onnx(ModelStore(house.storage))
    storage_id(house.storage)  # new storage would keep the worker from its queues for a moment
    program = worker(
        house.folder, house.environment, name="slim", concurrency=1, python=str(slim_python)
    )
    house.programs.append(program)
    program.wait_for_log("Ready with digits@1.")
    program.wait_for_log("ready.")  # the main process answers the doctor only from here on
    return program


def workers_of(house: House) -> set[str]:
    """The machine and process of whoever has tried a batch of the job."""
    logs = (house.jobs.path("job") / "attempts").glob("*.jsonl")
    lines = (json.loads(line) for log in logs for line in log.read_text().splitlines())
    return {line["worker"] for line in lines if line["event"] == "start"}


def children_of(program: Program) -> set[str]:
    return {str(pid) for pid in program.children()}


def test_it_classifies_a_job_of_onnx_runtime_as_every_worker_does(
    house: House, slim: Program, undisturbed: bytes
) -> None:
    house.submit()
    assert_exact(house, undisturbed)
    assert presence(house, "slim").keras is None
    for child in slim.children():
        loaded = Path(f"/proc/{child}/maps").read_text()
        assert "onnxruntime" in loaded
        assert "tensorflow" not in loaded


def test_it_leaves_a_job_of_tensorflow_to_a_worker_that_has_it(
    house: House, slim: Program, undisturbed: bytes
) -> None:
    house.environment["BATCHSIGHT_RUNTIME"] = "tensorflow"
    job = house.submit()
    client = house.redis.client()
    done = run(house.environment, "producer", "doctor", "--json", check=False)
    (told,) = (f for f in json.loads(done.stdout) if f["check"] == "queues")
    assert told["status"] == "fault"
    assert told["message"] == f"No worker has TensorFlow, which job job ({job.model}) waits for."
    assert client.llen(TENSORFLOW_QUEUE) == BATCHES
    assert "No batches are taken" not in slim.log
    ordinary = house.worker("ordinary")
    assert house.follow()["images"] == {"total": IMAGES, "predicted": IMAGES, "failed": 0}
    assert predictions_in(house.predictions()) == predictions_in(undisturbed)
    assert {worker.rpartition(":")[2] for worker in workers_of(house)} == children_of(ordinary)
    assert "No batches are taken" not in slim.log


def test_a_message_of_an_earlier_version_comes_to_a_worker_that_has_tensorflow(
    house: House, slim: Program, undisturbed: bytes
) -> None:
    house.environment["BATCHSIGHT_RUNTIME"] = "tensorflow"
    house.submit("--max-in-flight", "1")
    client = house.redis.client()
    client.delete(TENSORFLOW_QUEUE)
    app = make_app("test", settings=BrokerSettings(redis_url=house.redis.url))
    fields = {"job": "job", "batch": 0}
    app.send_task("worker.predict", kwargs=fields, queue="predict", task_id="job.0.12345678")
    slim.wait_for_log("No batches are taken. A child is not ready: ModuleNotFoundError")
    house.worker("ordinary")
    assert house.follow()["images"] == {"total": IMAGES, "predicted": IMAGES, "failed": 0}
    assert predictions_in(house.predictions()) == predictions_in(undisturbed)
    wait_for(lambda: client.llen(PREDICT_QUEUE) == 0, "nothing is left")
