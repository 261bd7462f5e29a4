"""A batch waits where those listen who can run it."""

import pytest

from dispatch.batch_message import message_of
from storage.models.runtime_choice import Runtime
from tests.builders import describe_job


@pytest.mark.parametrize(
    ("runtime", "queue"), [("onnx", "predict"), ("tensorflow", "predict.tensorflow")]
)
def test_the_runtime_that_a_job_is_pinned_to_decides_where_its_batches_wait(
    runtime: Runtime, queue: str
) -> None:
    job = describe_job()
    pin = job.model.model_copy(update={"runtime": runtime})
    message = message_of(job.model_copy(update={"model": pin}), 1)
    assert (message.key, message.queue) == (f"{job.id}.1", queue)
