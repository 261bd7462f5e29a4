"""The trainer's Celery app: `celery -A trainer worker`, and `celery -A trainer beat`."""

from typing import Any

from celery.signals import beat_embedded_init, beat_init

from messaging import beat_heartbeats
from messaging.app import make_app
from messaging.settings import TRAIN_QUEUE
from trainer.queue.schedule import SCHEDULE_FILE, beat_schedule
from trainer.settings import read_settings


def configure() -> dict[str, Any]:
    """What the environment says about beat."""
    storage, broker, settings = read_settings()
    return {
        "beat_schedule": beat_schedule(broker, settings),
        "beat_schedule_filename": str(storage.root / SCHEDULE_FILE),
    }


app = make_app("trainer", queues=[TRAIN_QUEUE], include=["trainer.tasks"], configure=configure)
app.conf.update(
    worker_concurrency=1,
    # Each training has a fresh process: nothing of TensorFlow's is left from the one before.
    worker_max_tasks_per_child=1,
    # A training that waits for its turn stays in the queue. Fetched ahead, it would come back
    # after the visibility timeout and be run twice.
    worker_disable_prefetch=True,
    beat_scheduler="trainer.queue.schedule:Scheduler",
    beat_sync_every=1,
    beat_max_loop_interval=5,
)
beat_init.connect(beat_heartbeats.begin)
beat_embedded_init.connect(beat_heartbeats.begin)
