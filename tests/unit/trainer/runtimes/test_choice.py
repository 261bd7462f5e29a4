import pytest

from evaluation.agreement import Agreement
from tests.builders import runtime_choice
from trainer.runtimes.choice import disagreement, faster

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


def test_few_images_that_barely_agree_are_no_reason_and_the_way_out_is_told() -> None:
    barely = Agreement(images=32, difference=5e-5, ties=0, differing=0)
    assert not barely.holds
    assert disagreement(barely) == (
        "its export to ONNX gives the same answers for only 32 images, with probabilities up to "
        "5e-05 apart, so that others may differ: with --dataset its test images decide"
    )
