"""What Flower is started with: `celery -A monitor.flower flower`.

An app without tasks, so that Flower imports nothing of the programs that it shows. It knows the
broker, with password and TLS, and the queues.
"""

import os

from messaging.app import make_app

TASK_COLUMNS = "name,state,kwargs,result,runtime,started,worker"
"""Which task, of what, and what came of it: readable without a click."""

# Flower reads its options from the environment, after this module.
os.environ.setdefault("FLOWER_TASKS_COLUMNS", TASK_COLUMNS)

app = make_app("flower")
