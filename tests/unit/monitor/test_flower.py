"""What Flower shows of a task."""

from types import SimpleNamespace
from typing import Any

import pytest
from tornado.options import options

from monitor.flower import make_readable


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        (
            {"model": "mnist@7", "batch": "3/10", "images": 5000, "correct": 4893, "ms": 12.4},
            "mnist@7: 5,000 images, 4,893 correct, 12 ms",
        ),
        (
            {"model": "mnist@7", "batch": "3/10", "images": 500, "failed": 2, "ms": 1.0},
            "mnist@7: 500 images, 2 failed, 1 ms",
        ),
        (
            {"model": "mnist@7", "batch": "3/10", "images": 500, "reused": 495, "ms": 1.0},
            "mnist@7: 500 images, 495 reused, 1 ms",
        ),
        (
            {
                "model": "mnist@8",
                "accuracy": 0.97871,
                "verdict": "rejected",
                "reason": "it is worse",
                "dataset": "mnist",
                "network": "mlp",
                "seconds": 18,
            },
            "mnist@8: accuracy 0.9787, rejected, 18 s",
        ),
        ({"skipped": "job cancelled"}, "skipped: job cancelled"),
        ({"failed": "time limit"}, "failed: time limit"),
    ],
)
def test_what_a_task_returns_is_shown_in_words(result: dict[str, Any], shown: str) -> None:
    task = make_readable(SimpleNamespace(kwargs="job nightly, batch 3", result=repr(result)))
    assert task.result == shown
    assert task.kwargs == "job nightly, batch 3" + (" of 10" if "batch" in result else "")


@pytest.mark.parametrize("result", [None, "", "'text'", "None"])
def test_what_is_no_summary_is_left_as_it_is(result: str | None) -> None:
    assert make_readable(SimpleNamespace(kwargs="", result=result)).result == result


def test_flower_is_told_to_show_tasks_so() -> None:
    assert options.format_task is make_readable
