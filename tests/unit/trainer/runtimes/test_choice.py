import pytest

from evaluation.agreement import Agreement
from tests.builders import runtime_choice
from trainer.runtimes.choice import faster

AGREEMENT = Agreement(images=10, difference=0, ties=0, differing=0)


@pytest.mark.parametrize(
    ("onnx", "tensorflow", "runtime", "reason"),
    [
        (300, 100, "onnx", "3.0 times as fast as TensorFlow"),
        (100, 104, "onnx", "as fast as TensorFlow, and needs less time to load and less memory"),
        (104, 100, "onnx", "as fast as TensorFlow, and needs less time to load and less memory"),
        (100, 150, "tensorflow", "1.5 times as fast as ONNX Runtime"),
    ],
)
def test_the_faster_runtime_is_chosen_and_onnx_where_there_is_no_difference(
    onnx: float, tensorflow: float, runtime: str, reason: str
) -> None:
    speeds = {"onnx": onnx, "tensorflow": tensorflow}
    metrics = {name: runtime_choice(speed).metrics["tensorflow"] for name, speed in speeds.items()}
    choice = faster(metrics["onnx"], metrics["tensorflow"], AGREEMENT)
    assert (choice.runtime, choice.reason) == (runtime, reason)
    assert choice.metrics == metrics
    assert choice.agreement == AGREEMENT
