"""A new champion serves the next job, a hundred times, and the worker does not grow."""

import shutil

import psutil
import pytest

from messaging.settings import BrokerSettings
from producer.client import PredictionClient
from producer.settings import ProducerSettings
from storage.models.runtime_choice import Runtime
from storage.models.store import ModelStore
from storage.settings import StorageSettings
from tests.faults.conftest import House

SWAPS = 100
SETTLED = 40
"""After so many swaps the allocator has the memory that it goes on with."""


@pytest.mark.parametrize("runtime", ["onnx", "tensorflow"])
def test_a_hundred_swaps_mix_no_job_and_leave_the_worker_at_its_size(
    house: House, runtime: Runtime
) -> None:
    worker = house.worker()
    (child,) = worker.children()
    store = ModelStore(house.storage)
    first = store.resolve("digits")
    client = PredictionClient(
        storage=StorageSettings(storage=house.storage),
        broker=BrokerSettings(redis_url=house.redis.url),
        settings=ProducerSettings(runtime=runtime),
    )
    running = client.submit("digits:test", batch_size=20)
    sizes = []
    for _ in range(SWAPS):
        with store.draft("digits") as draft:
            for artefact in first.folder.glob("model.*"):
                shutil.copy(artefact, draft)
            version = store.publish("digits", draft, first.manifest)
        store.promote(version)
        following = client.submit("digits:test", batch_size=20)  # while the last job still runs
        assert following.job.model == version.on(runtime).pin
        summary = running.wait()
        assert summary.images.predicted == 360
        results = (house.jobs.of(running.job).results.read(batch) for batch in range(18))
        assert {result.model for result in results} == {running.job.model}
        running = following
        sizes.append(psutil.Process(child).memory_info().rss)
    assert running.wait().status == "completed"
    assert worker.children() == [child]
    assert max(sizes[SETTLED:]) < 1.05 * sizes[SETTLED], [size // 2**20 for size in sizes]
