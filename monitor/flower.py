"""What Flower is started with: `celery -A monitor.flower flower`.

An app without tasks, so that Flower imports nothing of the programs that it shows. It knows the
broker, with password and TLS, and the queues. What workers return is shown as a sentence.
"""

import ast
import os
from typing import Any

import flower.options  # noqa: F401 (defines the options)
from tornado.options import options

from console.counts import counted
from console.logins import read_logins
from messaging.app import make_app

TASK_COLUMNS = "name,state,kwargs,result,runtime,received,worker"
"""Which task, of what, and what came of it: readable without a click, the latest first."""


def as_sentence(summary: dict[str, Any]) -> str:
    """What a task has returned, in words."""
    if "images" in summary:
        parts = [f"{counted(summary['images'], 'image')}"]
        if "correct" in summary:
            parts.append(f"{summary['correct']:,} correct")
        if summary.get("failed"):
            parts.append(f"{summary['failed']:,} failed")
        if summary.get("reused"):
            parts.append(f"{summary['reused']:,} reused")
        return f"{summary['model']}: {', '.join(parts)}, {summary['ms']:.0f} ms"
    if "verdict" in summary:
        return (
            f"{summary['model']}: accuracy {summary['accuracy']:.4f}, {summary['verdict']}, "
            f"{summary['seconds']} s"
        )
    return ", ".join(f"{name}: {fact}" for name, fact in summary.items())


def make_readable(task: Any) -> Any:
    """Put words in place of what a task has returned. Flower shows what this raises over as is."""
    if isinstance(task.result, str) and task.result.startswith("{"):
        summary = ast.literal_eval(task.result)
        task.result = as_sentence(summary)
        if "batch" in summary:
            task.kwargs = f"{task.kwargs} of {summary['batch'].partition('/')[2]}"
    return task


if logins := read_logins():
    os.environ.setdefault("FLOWER_BASIC_AUTH", logins)
# Read by Flower after this module; the environment and the command line go before the columns.
os.environ.setdefault("FLOWER_TASKS_COLUMNS", TASK_COLUMNS)
options.format_task = make_readable

app = make_app("flower")
